# SPDX-License-Identifier: GPL-2.0-or-later
"""Bounds on what was measured, and which machines a measurement takes."""

import math
import os

import pytest
from rich.console import Console
from test_result import RESULT, ROW

from dvhbuild.bench import Job, _runs, cases, full_runs
from dvhbuild.errors import UserError
from dvhbuild.experiments import EXPERIMENTS, choose
from dvhbuild.result import Case
from dvhbuild.stack import DIRECTORY, load_stack
from dvhbuild.tables import verdict_table
from dvhbuild.verdict import Bound, check, judge, load_bounds, ranked, summary, unjudged

VM = ROW.model_copy(update={"config": "vm", "level": 1, "instructions_p50": 1000.0})
ON = ROW.model_copy(update={"config": "on", "instructions_p50": 1500.0})
RUNS = {
    "one": (Case("ipi", "ipi", "vm", 1), Case("ipi", "ipi", "on", 2), Case("exits", "cpuid", "base", 2)),
    "two": (Case("device", "doorbell", "on", 2),),
}


def result(*rows):
    return RESULT.model_copy(update={"rows": rows})


@pytest.mark.parametrize(("most", "holds"), [(1.5, True), (1.49, False)])
def test_a_bound_relative_to_another_configuration(most, holds):
    bound = Bound(metric="instructions_p50", config="on", relative_to="vm", max=most, why="it should")
    (outcome,) = judge(result(VM, ON), [bound])
    assert (outcome.value, outcome.holds) == (1.5, holds)
    assert str(outcome) == (
        f"cpuid at level 2 (on): instructions_p50 is 1.5 times vm's, bound at most {most:g} (it should)"
    )


def test_a_bound_relative_to_what_was_not_measured():
    bound = Bound(metric="instructions_p50", config="on", relative_to="vm", max=1.5, why="it should")
    assert judge(result(ON), [bound]) == ()
    assert unjudged(result(ON), [bound, bound]) == (
        "cpuid at level 1 (vm) was not measured, to which a bound is relative",
    )
    assert unjudged(result(ON, VM), [bound]) == ()


def test_a_bound_of_other_stacks_does_not_match():
    bound = Bound(metric="instructions_p50", stacks=["vp"], max=1.0, why="it should")
    name = RESULT.inputs.stack["name"]
    assert judge(result(VM), [bound]) == ()
    assert len(judge(result(VM), [bound.model_copy(update={"stacks": {name, "vp"}})])) == 1


def test_what_a_bound_is_relative_to_is_of_the_same_level():
    rows = [
        ROW.model_copy(update={"config": config, "level": level, "l0_exits_per_op": exits})
        for config, level, exits in (("off", 2, 8), ("on", 2, 4), ("off", 3, 9), ("on", 3, 3))
    ]
    bound = Bound(metric="l0_exits_per_op", config="on", relative_to="off", max=1, why="it should")
    assert [outcome.value for outcome in judge(result(*rows), [bound])] == [4 / 8, 3 / 9]


@pytest.mark.parametrize(("entries", "value", "holds"), [(0, 1.0, True), (1, math.inf, False)])
def test_a_bound_relative_to_nothing(entries, value, holds):
    rows = [row.model_copy(update={"l1_entries_per_op": of_it}) for row, of_it in ((VM, 0), (ON, entries))]
    bound = Bound(metric="l1_entries_per_op", config="on", relative_to="vm", max=1.5, why="it should")
    (outcome,) = judge(result(*rows), [bound])
    assert (outcome.value, outcome.holds) == (value, holds)


@pytest.mark.parametrize(
    ("limits", "value", "margin"),
    [
        ({"max": 1.5}, 1.2, 0.2),
        ({"max": 1.5}, 1.5, 0),
        ({"max": 2}, 3, -0.5),
        ({"min": 1000}, 1500, 0.5),
        ({"min": 1000}, 900, -0.1),
        ({"min": 100, "max": 200}, 110, 0.1),
        ({"min": 100, "max": 200}, 190, 0.05),
        ({"min": 100, "max": 200}, 80, -0.2),
        ({"min": 1, "max": 1}, 1, 0),
        ({"min": 1, "max": 1}, 3, -2),
        ({"max": 0}, 0, 0),
        ({"max": 0}, 1, -math.inf),
    ],
)
def test_a_margin_is_a_share_of_the_limit(limits, value, margin):
    bound = Bound(metric="l0_exits_per_op", why="it should", **limits)
    (outcome,) = judge(result(ROW.model_copy(update={"l0_exits_per_op": value})), [bound])
    assert outcome.margin == pytest.approx(margin)
    assert outcome.holds == (margin >= 0)


BOUNDS = [
    Bound(metric="lost", max=0, why="all come"),
    Bound(metric="ops", min=1000, why="enough"),
    Bound(metric="l0_exits_per_op", min=1, why="some"),
    Bound(metric="l1_entries_per_op", min=7, max=7, why="just so"),
    Bound(metric="instructions_p50", max=20000, why="cheap"),
    Bound(metric="instructions_p50", config="on", relative_to="vm", max=1.6, why="as good"),
]


def test_the_broken_bounds_come_first_then_the_tight_ones_then_those_without_a_more_or_less():
    rows = (VM, ON.model_copy(update={"lost": 2, "instructions_p50": 1700.0}))
    shown = [(o.bound.metric, o.row.config, o.holds) for o in ranked(judge(result(*rows), BOUNDS))]
    assert shown[:4] == [
        ("lost", "on", False),
        ("instructions_p50", "on", False),
        ("instructions_p50", "on", True),
        ("instructions_p50", "vm", True),
    ]
    assert {metric for metric, _, holds in shown[4:]} == {"lost", "ops", "l0_exits_per_op", "l1_entries_per_op"}


def test_the_summary_names_the_tightest():
    assert summary(judge(result(VM, ON), BOUNDS)) == (
        "6 bounds hold on 2 rows; the tightest: cpuid at level 2 (on): instructions_p50 is 1.5 times vm's, "
        "bound at most 1.6, 6% to spare"
    )
    assert summary(judge(result(VM, ON), BOUNDS[:4])) == "4 bounds hold on 2 rows"
    assert summary(judge(result(VM, ON.model_copy(update={"lost": 1})), BOUNDS)) == "5 of 6 bounds hold on 2 rows"
    assert summary(()) == "no bound is for what was measured"


def test_the_table_of_bounds():
    rows = (VM, ON.model_copy(update={"lost": 2}), ROW.model_copy(update={"lost": 1, "config": "off"}))
    console = Console(width=160, record=True, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123
    console.print(verdict_table(judge(result(*rows), BOUNDS)))
    shown = [" ".join(line.split()) for line in console.export_text().splitlines()]
    assert [line for line in shown if line.startswith(("holds", "FAILED"))] == [
        "FAILED lost cpuid on 2 2 0 none all come",
        "FAILED lost cpuid off 2 1 0 none all come",
        "holds instructions_p50 / vm cpuid on 2 1.5 ≤ 1.6 6% as good",
        "holds instructions_p50 cpuid +2 off 2 15,748.5 ≤ 20,000 21% cheap",
        "holds ops cpuid +2 vm 1 1,000 ≥ 1,000 0% enough",
        "holds l1_entries_per_op cpuid +2 vm 1 7 7 exact just so",
        "holds l0_exits_per_op cpuid +2 vm 1 8 ≥ 1 700% some",
    ]


@pytest.mark.parametrize(
    ("selectors", "what"),
    [
        ({"operation": "ipi-to-come"}, "bound.1: lost of ipi-to-come: nothing that it is for is measured$"),
        ({"operation": ["ipi", "old-ipi"]}, "lost of old-ipi: nothing that it is for is measured$"),
        ({"operation": "ipi", "config": "base"}, "lost of ipi: nothing that it is for is measured in base$"),
        ({"config": ["on", "of"]}, "lost of every operation: nothing that it is for is measured in of$"),
        ({"operation": "ipi", "level": 3}, "lost of ipi: nothing that it is for is measured$"),
        ({"stacks": ["one", "three"]}, "lost of every operation: .* is measured on the stack three$"),
        ({"operation": "doorbell", "stacks": ["one", "two"]}, "lost of doorbell: .* is measured on the stack one$"),
        ({"operation": "cpuid", "relative_to": "vm"}, r"cpuid at level 2 \(base\) is not measured in vm"),
    ],
)
def test_a_bound_that_is_for_nothing_is_an_error(selectors, what):
    with pytest.raises(UserError, match=what):
        check([Bound(metric="lost", max=1, why=""), Bound(metric="lost", max=1, why="", **selectors)], RUNS)


@pytest.mark.parametrize(
    "selectors",
    [{}, {"operation": ["ipi", "doorbell"]}, {"stacks": ["two"]}, {"operation": "ipi", "relative_to": "vm"}],
)
def test_a_bound_that_is_for_something_is_none(selectors):
    check([Bound(metric="lost", max=1, why="", **selectors)], RUNS)


def test_our_bounds_are_for_what_we_measure():
    bounds = load_bounds()
    check(bounds, full_runs())
    configs = frozenset().union(*(bound.config for bound in bounds if bound.config))
    assert configs == {"vm", "on", *load_stack("matrix").variants}


@pytest.mark.parametrize("metric", ["lost", "early", "wrong"])
def test_nothing_may_be_lost_early_or_wrong_anywhere(metric):
    (bound,) = (bound for bound in load_bounds() if bound.metric == metric)
    assert bound == Bound(metric=metric, max=0, why=bound.why)


@pytest.mark.parametrize("case", full_runs()["base-2cpu"], ids=str)
def test_each_row_of_the_usual_run_has_a_bound_of_its_own_exits_or_entries(case):
    own = [bound for bound in load_bounds() if bound.operation and bound.matches(case, "base-2cpu")]
    assert {bound.metric for bound in own} & {"l0_exits_per_op", "l1_entries_per_op"}


@pytest.mark.parametrize("mechanism", ["ipi", "timer", "vp", "dvh"])
def test_each_mechanism_has_bounds_of_its_own(mechanism):
    single = [bound for bound in load_bounds() if bound.config and mechanism in bound.config]
    assert {(bound.metric, bound.max) for bound in single} >= {("l0_exits_per_op", 1), ("l1_entries_per_op", 0)}


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        ("max = 1", "bound.0.metric: Field required"),
        ('metric = "cost"\nmax = 1', "bound.0: .*'cost': rows have no such figure"),
        ('metric = "foreign"\nmax = 1', "bound.0: .*'foreign': rows have no such figure"),
        ('metric = "lost"', "bound.0: .*neither min nor max"),
        ('metric = "ops"\nmin = 3\nmax = 2', "bound.0: .*min is above max"),
        ('metric = "ops"\nmin = 0', "bound.0.min: .*greater than 0"),
        ('metric = "ops"\nmax = nan', "bound.0.max: "),
        ('metric = "ops"\nmax = inf', "bound.0.max: "),
        ('metric = "ops"\nmax = 1\nmachine = "boch"', "bound.0.machine: "),
        ('metric = "ops"\nmax = 1\noperation = []', "bound.0.operation: "),
        ('metric = "ops"\nmax = 1\nstacks = []', "bound.0.stacks: "),
        ('metric = "ops"\nmax = 1\nlimit = 1', "bound.0.limit: "),
        ("metric =", "not TOML"),
    ],
)
def test_bounds_that_are_none_are_errors_with_their_place(tmp_path, lines, what):
    path = tmp_path / "bounds.toml"
    path.write_text(f'[[bound]]\nwhy = "it should"\n{lines}\n')
    with pytest.raises(UserError, match=f"{path}: {what}"):
        load_bounds(path)


def test_a_bound_may_be_for_several_operations(tmp_path):
    path = tmp_path / "bounds.toml"
    path.write_text('[[bound]]\nwhy = "x"\nmetric = "ops"\nmin = 1\noperation = ["cpuid", "ipi"]\n')
    (bound,) = load_bounds(path)
    assert len(judge(result(VM, ON.model_copy(update={"operation": "ipi-send"})), [bound])) == 1


@pytest.mark.parametrize("path", sorted(DIRECTORY.glob("*.toml")), ids=lambda path: path.stem)
def test_our_stacks_are_for_experiments_that_there_are(path):
    stack = load_stack(path.stem)
    if stack.experiments:
        assert tuple(experiment.name for experiment in choose((), stack)) == stack.experiments
    else:
        with pytest.raises(UserError, match="for no experiments"):
            choose((), stack)


def test_what_dvh_changes_is_measured_off_and_on_and_in_a_vm():
    stack = load_stack("base-2cpu")
    runs = _runs(Job(stack, choose(["exits", "ipi"], stack), 1000))
    measured = [(run.level, run.variant, run.guest, [config for _, config in run.experiments]) for run in runs]
    assert measured == [
        (2, "off", "probe", ["off", "off"]),
        (2, "on", "probe", ["on"]),
        (2, "off", "linux", ["off"]),
        (2, "on", "linux", ["on"]),
        (1, "off", "probe", ["vm", "vm"]),
        (1, "off", "linux", ["vm"]),
    ]


def test_each_configuration_of_the_matrix_is_measured_and_what_none_changes_in_two():
    stack = load_stack("matrix")
    measured = cases(Job(stack, choose((), stack), 1))
    assert {case.config for case in measured if case.experiment == "ipi" and case.level == 2} == set(stack.variants)
    assert {case.config for case in measured if case.experiment == "exits" and case.level == 2} == {"base", "off"}
    assert {case.config for case in measured if case.level == 1} == {"base", "vm"}
    assert len(set(measured)) == len(measured)


def test_linuxes_are_watched_on_machines_of_their_own_if_that_is_asked_for():
    stack = load_stack("base-2cpu")
    runs = _runs(Job(stack, choose(["idle-linux"], stack), 1000))
    measured = [(run.level, run.variant, run.guest, [config for _, config in run.experiments]) for run in runs]
    assert measured == [(2, "off", "linux", ["off"]), (2, "on", "linux", ["on"]), (1, "off", "linux", ["vm"])]
    assert not any(experiment.watched for experiment in choose([], stack))


def test_many_operations_are_dealt_out_to_machines():
    stack = load_stack("base-2cpu")
    runs = _runs(Job(stack, choose([], stack), 1000))
    nested = [run for run in runs if (run.level, run.variant, run.guest) == (2, "off", "probe")]
    names = [[experiment.name for experiment, _ in run.experiments] for run in nested]
    assert names == [["exits", "timer", "idle"], ["ipi", "port", "doorbell"]]


def test_what_is_measured_is_known_before():
    stack = load_stack("base-2cpu")
    of_ipi = [case for case in cases(Job(stack, choose(["exits", "ipi"], stack), 1)) if case.experiment == "ipi"]
    assert len(of_ipi) == 3 * len(EXPERIMENTS["ipi"].operations)
    assert Case("ipi", "linux-ipi", "on", 2) in of_ipi
    assert full_runs().keys() == {"base-2cpu", "matrix", "virtio", "vp", "vp-nopi"}
