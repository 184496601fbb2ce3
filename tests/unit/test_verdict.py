# SPDX-License-Identifier: GPL-2.0-or-later
"""Bounds on what was measured, and which machines a measurement takes."""

import pytest
from test_result import RESULT, ROW

from dvhbuild.bench import Job, _runs
from dvhbuild.errors import UserError
from dvhbuild.experiments import EXPERIMENTS, choose
from dvhbuild.stack import DIRECTORY, load_stack
from dvhbuild.verdict import Bound, judge, load_bounds

VM = ROW.model_copy(update={"config": "vm", "level": 1, "instructions_p50": 1000.0})
ON = ROW.model_copy(update={"config": "on", "instructions_p50": 1500.0})


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
    with pytest.raises(UserError, match="cpuid: no row of config vm"):
        judge(result(ON), [bound])


def test_a_bound_of_other_stacks_does_not_match():
    bound = Bound(metric="instructions_p50", stacks=["vp"], max=1.0, why="it should")
    name = RESULT.inputs.stack["name"]
    assert judge(result(VM), [bound]) == ()
    assert len(judge(result(VM), [bound.model_copy(update={"stacks": {name, "vp"}})])) == 1


def test_our_bounds_are_for_what_we_measure():
    operations = {operation.name for experiment in EXPERIMENTS.values() for operation in experiment.operations}
    assert {bound.operation for bound in load_bounds()} - {None} <= operations
    assert {bound.config for bound in load_bounds()} - {None} <= {"base", "off", "on", "vm"}
    for name in {name for bound in load_bounds() for name in bound.stacks or ()}:
        assert load_stack(name).name == name


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
        (2, "off", "probe", ["base", "off"]),
        (2, "on", "probe", ["on"]),
        (2, "off", "linux", ["off"]),
        (2, "on", "linux", ["on"]),
        (1, "off", "probe", ["base", "vm"]),
        (1, "off", "linux", ["vm"]),
    ]


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
