# SPDX-License-Identifier: GPL-2.0-or-later
"""What is different between two results."""

from __future__ import annotations

import json
import os

import pytest
from rich.console import Console
from test_result import RESULT, ROW

from dvhbuild.compare import compare, document, names
from dvhbuild.result import Base, Case
from dvhbuild.stack import load_stack
from dvhbuild.tables import comparison_table


def row(operation, p50=1000.0, exits=1, entries=0, experiment="ipi", **others):
    figures = {"l0_exits_per_op": exits, "l1_entries_per_op": entries, "instructions_p50": p50}
    return ROW.model_copy(
        update={"experiment": experiment, "operation": operation, "config": "on", **figures, **others}
    )


def result(*rows, made_by=None, **inputs):
    changes = {"rows": rows, "inputs": RESULT.inputs.model_copy(update=inputs)}
    return RESULT.model_copy(update=changes | ({"made_by": made_by} if made_by else {}))


def changed(before, after):
    """The operations that changed, in order."""
    return [pair.after.operation for pair in compare(result(*before), result(*after)).changed]


@pytest.mark.parametrize("p50", [968, 984, 1000, 1016, 1032])
def test_what_the_clock_cannot_tell_is_no_change(p50):
    comparison = compare(result(row("a")), result(row("a", p50)))
    assert (comparison.changed, comparison.unchanged) == ((), (Case("ipi", "a", "on", 2),))


@pytest.mark.parametrize(
    "change", [{"p50": 1033}, {"p50": 967}, {"exits": 2}, {"entries": 1}, {"lost": 1}, {"early": 1}, {"wrong": 1}]
)
def test_all_else_is_a_change(change):
    comparison = compare(result(row("a")), result(row("a", **change)))
    assert (len(comparison.changed), comparison.unchanged) == (1, ())


@pytest.mark.parametrize(
    ("change", "repeats"),
    [
        ({"p50": 1050}, True),
        ({"p50": 950}, True),
        ({"p50": 1051}, False),
        ({"p50": 900}, False),
        ({"p50": 1040, "exits": 2}, False),
        ({"p50": 1040, "entries": 1}, False),
        ({"p50": 1040, "lost": 1}, False),
    ],
)
def test_what_another_run_may_have_too(change, repeats):
    (pair,) = compare(result(row("a")), result(row("a", **change))).changed
    assert pair.repeats == repeats


def test_the_largest_change_comes_first_up_or_down():
    before = [row("a", 16000), row("b"), row("c", 16000, exits=3), row("d", exits=5), row("e", 16000)]
    after = [row("a", 16100), row("b", 4000), row("c", 1000, exits=1), row("d", exits=4), row("e", 16000, exits=2)]
    assert changed(before, after) == ["c", "b", "e", "d", "a"]


def test_a_step_of_the_clock_is_not_a_large_change_of_a_small_figure():
    assert changed([row("a", 16), row("b")], [row("a", 64), row("b", 2100)]) == ["b", "a"]
    assert changed([row("a", 0), row("b")], [row("a", 48), row("b", 1100)]) == ["b", "a"]


def test_what_is_lost_comes_before_everything():
    assert changed([row("a"), row("b")], [row("a", entries=9), row("b", wrong=1)]) == ["b", "a"]
    assert changed([row("a"), row("b", lost=1)], [row("a", 9000), row("b")]) == ["b", "a"]


def test_rows_that_come_and_go():
    comparison = compare(result(row("a"), row("b")), result(row("b"), row("c")))
    assert comparison.vanished == (Case("ipi", "a", "on", 2),)
    assert comparison.appeared == (Case("ipi", "c", "on", 2),)
    assert comparison.unchanged == (Case("ipi", "b", "on", 2),)


def test_an_experiment_that_is_not_there_is_named_as_such():
    missing = [Case("ipi", "a", "on", 2), Case("exits", "x", "base", 1), Case("exits", "y", "base", 1)]
    assert names(missing, [Case("ipi", "b", "on", 2)]) == "exits (2 rows), a at level 2 (on)"


def inputs(before, after):
    return {each.what: (each.before, each.after) for each in compare(before, after).inputs}


def test_the_same_inputs():
    made_by = RESULT.made_by.model_copy(update={"date": RESULT.made_by.date.replace(year=2027)})
    assert inputs(result(row("a")), result(row("b"), made_by=made_by, seconds=1.0, host_cpu="another")) == {}


def test_sources_digests_command_lines_and_the_program():
    made_by = RESULT.made_by.model_copy(update={"commit": None})
    after = result(
        row("a", ops=500),
        made_by=made_by,
        machine="tcg",
        bases={"linux": Base(version="6.12.118-1", origin="linux-source-6.12"), "qemu": Base(version="10", origin="x")},
        digests={"kernel": "0123456789abcdef"},
        kernel_command_lines=("quiet", "loud quiet", "quiet"),
    )
    assert inputs(result(row("a")), after) == {
        "dvhbuild": ("ffb88a8", "of no commit"),
        "machine": ("bochs", "tcg"),
        "operations of each kind": ("1,000", "500"),
        "linux": ("6.12.117-1", "6.12.118-1"),
        "qemu": ("nothing", "10 (x)"),
        "digest of kernel": ("abc", "0123456789ab"),
        "command line of L1": ("nothing", "loud"),
        "command line of L2": ("nothing", "quiet"),
    }


A, B, C, D = (letter * 40 for letter in "abcd")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ((A, B), (A, C, D), ("2 patches, no. 2 is bbbbbbbbbbbb", "3 patches, no. 2 is cccccccccccc")),
        ((A, B), (A, B, C), ("2 patches", "3 patches, no. 3 is cccccccccccc")),
        ((A, B), (A,), ("2 patches, no. 2 is bbbbbbbbbbbb", "1 patch")),
        ((), (A,), ("0 patches", "1 patch, no. 1 is aaaaaaaaaaaa")),
    ],
)
def test_a_series_is_different_from_its_first_other_patch_on(before, after, said):
    found = inputs(result(series={"linux": before}), result(series={"linux": after}))
    assert found == {"series of linux": said}


def test_a_stack_is_different_where_it_says_something_else():
    one, other = (load_stack(name).model_dump(mode="json") for name in ("vp-nopi", "vp"))
    found = inputs(result(stack=one), result(stack=other))
    assert found == {
        "stack.name": ("vp-nopi", "vp"),
        "stack.configs.on.changes.1.qemu": ("nothing", "-global intel-iommu.pi=on"),
    }


def test_a_stack_is_different_in_its_levels_and_their_order():
    one, other = (
        {"name": "x", "levels": [{"cpus": n, "qemu": q, "append": a}]}
        for n, q, a in ((1, ["a", "b"], "q"), (2, ["b", "a"], "r"))
    )
    found = inputs(result(stack=one), result(stack=other))
    assert found == {"stack.levels.0.cpus": ("1", "2"), "stack.levels.0.qemu": ("a b", "b a")}


def test_what_a_stack_leaves_to_another_configuration_is_nothing():
    one, other = ({"levels": [], "configs": {"on": {"1": {"append": value}}}} for value in (None, "x y"))
    assert inputs(result(stack=one), result(stack=other)) == {"stack.configs.on.1.append": ("nothing", "x y")}


def test_the_table_has_what_was_and_what_is():
    before = [row("a", 16768, exits=3, entries=2), row("b"), row("c", 0), row("d", lost=1)]
    after = [row("a", 1440), row("b", 1016, exits=2), row("c", 320), row("d", early=2)]
    console = Console(width=160, record=True, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123
    console.print(comparison_table(compare(result(*before), result(*after)).changed))
    shown = [" ".join(line.split()) for line in console.export_text().splitlines()]
    assert [line for line in shown if " on " in line] == [
        "d on 2 1 0 1,000 none lost 1 → 0, early 0 → 2",
        "a on 2 3 → 1 2 → 0 16,768 → 1,440 -91.4%",
        "c on 2 1 0 0 → 320 new",
        "b on 2 1 → 2 0 1,000 → 1,016 within 32",
    ]


def test_the_document_is_for_programs():
    comparison = compare(result(row("a"), row("b"), row("c")), result(row("a", 2000.5, lost=1), row("b"), row("d")))
    assert json.loads(json.dumps(document(comparison))) == {
        "inputs": [],
        "changed": [
            {
                "experiment": "ipi",
                "operation": "a",
                "config": "on",
                "level": 2,
                "l0_exits_per_op": {"before": 1, "after": 1},
                "l1_entries_per_op": {"before": 0, "after": 0},
                "instructions_p50": {"before": 1000.0, "after": 2000.5},
                "lost": {"before": 0, "after": 1},
                "early": {"before": 0, "after": 0},
                "wrong": {"before": 0, "after": 0},
            }
        ],
        "unchanged": [{"experiment": "ipi", "operation": "b", "config": "on", "level": 2}],
        "vanished": [{"experiment": "ipi", "operation": "c", "config": "on", "level": 2}],
        "appeared": [{"experiment": "ipi", "operation": "d", "config": "on", "level": 2}],
        "resolution": 32,
    }
