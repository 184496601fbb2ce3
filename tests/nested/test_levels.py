# SPDX-License-Identifier: GPL-2.0-or-later
"""Levels answer, a saved machine is the machine that was saved, and two machines do not meet."""

import threading
from dataclasses import replace

import pytest

from dvhbuild.experiments import choose
from dvhbuild.lab import bring_up
from dvhbuild.machine import bochs
from dvhbuild.measure import measure
from dvhbuild.nest import Nest

pytestmark = pytest.mark.nested

GRANULE = 16
"""Instructions that an emulated processor runs before it is the other one's turn: RDTSC tells no finer."""


def assert_alike(rows, others, rel):
    """Hold the figures of two runs against each other, medians to within `rel`, as the README says."""
    assert {row.operation for row in rows} == {row.operation for row in others}
    for row in rows:
        other = next(other for other in others if other.operation == row.operation)
        exits, entries = row.l0_exits_per_op, row.l1_entries_per_op
        assert (row.operation, exits, entries) == (other.operation, other.l0_exits_per_op, other.l1_entries_per_op)
        close = pytest.approx(other.instructions_p50, rel=rel, abs=2 * GRANULE)
        assert (row.operation, row.instructions_p50) == (row.operation, close)


def test_every_level_answers_and_the_highest_is_nested(builder, stack, tmp_path):
    with bring_up(builder, stack, 2, tmp_path) as nest:
        for number, linux in enumerate(nest.levels):
            assert linux.agent.check("cat /proc/sys/kernel/hostname") == f"l{number}"
            assert linux.agent.check("nproc") == "2"
            assert linux.agent.run("exit 7").status == 7
        assert "hypervisor" in nest.top.agent.check("grep -m1 ^flags /proc/cpuinfo")
        assert len(nest.levels[1].agent.run("head -c 3000000 /dev/zero").output) == 3_000_000


def test_a_saved_state_and_a_boot_give_the_same_figures(builder, stack, tmp_path):
    runs = []
    for name, fresh in (("saved", False), ("fresh", True)):
        with bring_up(builder, stack, 0, tmp_path / name, fresh=fresh) as nest:
            experiments = [(experiment, "base") for experiment in choose(["exits", "ipi"], stack)]
            runs.append(list(measure(nest, 1, experiments, 1000)))
    assert_alike(*runs, rel=0.01)


@pytest.mark.parametrize("variant", ["off", "on"])
def test_figures_do_not_depend_on_what_was_measured_before(builder, stack, tmp_path, variant):
    forth = [(experiment, variant) for experiment in choose(["ipi", "timer"], stack)]
    back = [(replace(each, operations=each.operations[::-1]), variant) for each, _ in reversed(forth)]
    runs = []
    for name, experiments in (("forth", forth), ("back", back)):
        with bring_up(builder, stack.configured(variant), 1, tmp_path / name) as nest:
            runs.append(list(measure(nest, 2, experiments, 300)))
    assert_alike(*runs, rel=0.05)


def test_two_machines_at_once(builder, stack, tmp_path):
    answers = {}

    def run(name):
        with bring_up(builder, stack, 1, tmp_path / name) as nest:
            nest.top.agent.check(f"echo {name} > /run/name")
            answers[name] = nest.top.agent.check("sleep 1; cat /run/name")

    threads = [threading.Thread(target=run, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {"one": "one", "two": "two"}


def test_a_guest_that_computes_while_it_is_saved_goes_on(builder, stack, tmp_path):
    with bring_up(builder, stack, 1, tmp_path / "one") as nest:
        nest.top.agent.check("for i in 1 2; do (while :; do :; done) >/dev/null 2>&1 & done")
        nest.save(tmp_path / "state")
    artifacts = builder.artifacts
    cd, disk = builder.cd(stack).path / "l0.iso", artifacts.files.path / "files.img"
    parts = bochs.BochsParts(artifacts.bochs.path, cd, disk)
    with bochs.start(parts, stack.levels[0], tmp_path / "two", builder.settings, tmp_path / "state") as machine:
        again = Nest(machine, stack, builder.settings)
        again.resume(tmp_path / "state")
        assert float(again.top.agent.check("cut -d' ' -f1 /proc/uptime")) < 1000
