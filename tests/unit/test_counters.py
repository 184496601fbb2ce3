# SPDX-License-Identifier: GPL-2.0-or-later
"""kvmwindow's snapshots, and their agreement with the trace of the same window: real ones in `traces/`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from dvhbuild.counters import MEANING, Difference, agree, agree_with_l1, difference, levels, parse
from dvhbuild.errors import VerdictError
from dvhbuild.trace import Kind, locate, read

TRACES = Path(__file__).parent / "traces"
FILES = sorted(path.name.removesuffix(".trace.gz") for path in TRACES.glob("*.trace.gz"))
SMALL = """\
kvmwindow 1 begin pid 51 tsc 1000
vcpu0 exits 7
vcpu0 nested_run 1
vcpu0 guest_mode 1
vcpu1 exits 2
vcpu1 nested_run 0
vcpu1 guest_mode 0
debugfs exits 9
debugfs nested_run 1
debugfs pages_4k 12
done 9
"""


def window(file):
    before, after = (parse((TRACES / f"{file}.{end}").read_text()) for end in ("before", "after"))
    return before, after, locate(read((TRACES / f"{file}.trace.gz").read_bytes()), levels(before))


def test_a_snapshot_is_read():
    snapshot = parse(SMALL)
    assert (snapshot.command, snapshot.pid, snapshot.tsc) == ("begin", 51, 1000)
    assert snapshot.vcpus[0]["exits"] == 7
    assert snapshot.vm["pages_4k"] == 12
    assert levels(snapshot) == {0: 2, 1: 1}


def test_carriage_returns_of_a_serial_line_do_no_harm():
    assert parse(SMALL.replace("\n", "\r\n")) == parse(SMALL)


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        (SMALL, "", "nothing was printed"),
        ("kvmwindow 1", "sh: kvmwindow", "not a snapshot"),
        ("kvmwindow 1", "kvmwindow 2", "not a snapshot"),
        ("vcpu1 exits 2\n", "", "lost lines: 8"),
        ("done 9\n", "", "lost lines"),
        ("vcpu1 exits 2", "vcpu1 ex", "damaged line"),
        ("vcpu1 exits 2", "vcpu0 exits 2", "line twice"),
        ("debugfs exits 9", "debugfs exits 10", "exits: binary statistics say 9, debugfs says 10"),
        ("debugfs nested_run 1", "debugfs nested 1", "nested_run: binary statistics say 1, debugfs says None"),
    ],
)
def test_a_damaged_snapshot_is_an_error(old, new, what):
    assert old in SMALL
    with pytest.raises(VerdictError, match=what):
        parse(SMALL.replace(old, new))


def test_a_vm_that_runs_may_count_between_the_two_sources():
    parse(SMALL.replace("begin", "stat").replace("debugfs exits 9", "debugfs exits 10"))


def later(**lines):
    text = SMALL.replace("tsc 1000", "tsc 1500")
    for old, new in lines.values():
        assert old in text
        text = text.replace(old, new)
    return parse(text)


def test_a_difference_leaves_states_out():
    after = later(a=("vcpu0 exits 7", "vcpu0 exits 17"), b=("exits 9", "exits 19"), c=("pages_4k 12", "pages_4k 3"))
    counted = difference(parse(SMALL), after)
    assert counted.ticks == 500
    assert counted.vcpus[0] == {"exits": 10, "nested_run": 0}
    assert counted.vm == {"exits": 10, "nested_run": 0}
    assert counted.total("exits") == 10


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (("pid 51", "pid 52"), "different VMs: processes 51 and 52"),
        (("vcpu1", "vcpu2"), "different VMs"),
    ],
)
def test_snapshots_of_different_vms_are_an_error(change, what):
    with pytest.raises(VerdictError, match=what):
        difference(parse(SMALL), later(a=change))


def test_counters_that_go_backwards_are_an_error():
    with pytest.raises(VerdictError, match="went backwards"):
        difference(later(a=("vcpu0 exits 7", "vcpu0 exits 8"), b=("exits 9", "exits 10")), parse(SMALL))


@pytest.mark.parametrize("file", FILES)
def test_real_counters_agree_with_the_real_trace(file):
    before, after, timeline = window(file)
    counted = agree(before, after, timeline)
    assert counted.vm["exits"] == sum(step.event.kind is Kind.EXIT for step in timeline.steps)


@pytest.mark.parametrize("file", ["svm-l2-cpuid", "vmx-l2-own-halts"])
@pytest.mark.parametrize("counter", ["exits", "nested_run", "irq_exits"])
def test_one_more_or_less_is_a_disagreement(counter, file):
    before, after, timeline = window(file)
    counted = difference(before, after).vcpus[0][counter]
    for wrong in (counted - 1, counted + 1):
        values = {**after.vcpus[0], counter: before.vcpus[0][counter] + wrong}
        changed = dataclasses.replace(after, vcpus={**after.vcpus, 0: values})
        with pytest.raises(VerdictError, match=f"vcpu0 {counter}.*: counted {wrong}, traced {counted}"):
            agree(before, changed, timeline)


@pytest.mark.parametrize(("end", "when"), [(0, "before"), (1, "after")])
def test_a_level_that_the_trace_does_not_end_in_is_a_disagreement(end, when):
    *snapshots, timeline = window("svm-l2-cpuid")
    vcpus = snapshots[end].vcpus
    values = {**vcpus[0], "guest_mode": 1 - vcpus[0]["guest_mode"]}
    snapshots[end] = dataclasses.replace(snapshots[end], vcpus={**vcpus, 0: values})
    with pytest.raises(VerdictError, match=f"level {when}"):
        agree(*snapshots, timeline)


def test_a_trace_that_misses_a_vcpu_is_a_disagreement():
    before, after, timeline = window("svm-l2-cpuid")
    totals = {vcpu: each for vcpu, each in timeline.totals.items() if vcpu != 1}
    with pytest.raises(VerdictError, match="vcpu1 exits"):
        agree(before, after, dataclasses.replace(timeline, totals=totals))
    with pytest.raises(VerdictError, match=r"no counters of traced vCPUs \[7\]"):
        agree(before, after, dataclasses.replace(timeline, totals={**timeline.totals, 7: timeline.totals[1]}))


@pytest.mark.parametrize("which", ["early", "late"])
def test_an_entry_at_an_end_of_the_window_may_run_in_it(which):
    """kvm_nested_vmenter before the window, the run in it, or the other way: one more is fine, two more are not."""
    before, after, timeline = window("svm-l2-cpuid")
    totals = {**timeline.totals, 0: dataclasses.replace(timeline.totals[0], **{which: 1})}
    for more, fine in ((1, True), (2, False)):
        values = {**after.vcpus[0], "nested_run": after.vcpus[0]["nested_run"] + more}
        changed = dataclasses.replace(after, vcpus={**after.vcpus, 0: values})
        if fine:
            agree(before, changed, dataclasses.replace(timeline, totals=totals))
        else:
            with pytest.raises(VerdictError, match="nested_run"):
                agree(before, changed, dataclasses.replace(timeline, totals=totals))


def test_entries_of_a_halted_l2_are_told_from_runs():
    before, after, timeline = window("vmx-l2-own-halts")
    counted = difference(before, after)
    halted = {vcpu: counted.vcpus[vcpu]["halt_exits"] - totals.halts for vcpu, totals in timeline.totals.items()}
    assert min(halted.values()) > 0
    for vcpu, totals in timeline.totals.items():
        assert totals.nested_entries - halted[vcpu] == counted.vcpus[vcpu]["nested_run"]


def test_every_explained_counter_exists():
    before, _, _ = window("svm-l2-cpuid")
    assert MEANING.keys() <= before.vcpus[0].keys()


@pytest.mark.parametrize(("more", "agrees"), [(0, True), (1, False), (-1, False)])
def test_l1_counts_the_entries_of_l2_that_l0_traced(more, agrees):
    _, _, timeline = window("vmx-l2-own-halts")
    entries = sum(totals.nested_entries for totals in timeline.totals.values())
    l1 = Difference(1, {0: {"exits": 10}, 1: {"exits": entries - 10 + more}}, {})
    if agrees:
        agree_with_l1(timeline, l1)
    else:
        with pytest.raises(VerdictError, match=f"L0 traced {entries} entries of L2, L1 counted {entries + more}"):
            agree_with_l1(timeline, l1)
