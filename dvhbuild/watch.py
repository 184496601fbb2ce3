# SPDX-License-Identifier: GPL-2.0-or-later
"""Linuxes that are left to themselves, and what else L1 has to do meanwhile, as parts of a result."""

from __future__ import annotations

from collections.abc import Iterator

from dvhbuild import fairness, idle
from dvhbuild.nest import Nest
from dvhbuild.probe import Outcome
from dvhbuild.result import Idle, Task
from dvhbuild.steps import step

SECONDS = 10


def watch(nest: Nest, level: int, config: str) -> Iterator[Idle | Task]:
    """Watch the levels of `nest` up to `level`, which has nothing to do, for `SECONDS`; then give L1 something to do.

    At level 1, L1 has its CPUs to itself.

    Raises VerdictError if counters and trace disagree, GuestError if a guest cannot do its part.
    """
    with step(nest.settings.reporter, f"watch L{level} idle", nest.machine.directory / f"l{level}.log"):
        idle.settle(nest)
        seen = idle.observe(nest, SECONDS)
    yield Idle(
        config=config,
        level=level,
        seconds=SECONDS,
        exits=seen.exits,
        l1_entries=seen.entries.get(1, 0),
        l1_wakeups=seen.wakeups,
        instructions={f"L{number}": count for number, count in sorted(seen.instructions.items())},
    )
    title = "measure tasks of L1" + (f" beside L{level}" if level > 1 else "")
    with step(nest.settings.reporter, title, nest.machine.directory / "l1.log") as current:
        for operation, count in (fairness.BESIDE | fairness.TOGETHER).items():
            nest.settings.reporter.advanced(current, operation)
            yield _task(config, _perform(nest, level, operation, count))


def _perform(nest: Nest, level: int, operation: str, count: int) -> Outcome:
    if operation in fairness.TOGETHER:
        return fairness.together(nest, operation, count)
    return fairness.beside(nest, operation, count) if level > 1 else fairness.loads(nest)[0].run(operation, count)


def _task(config: str, outcome: Outcome) -> Task:
    return Task(
        operation=outcome.operation,
        config=config,
        ops=outcome.ops,
        instructions_p50=outcome.p50,
        instructions_max=outcome.max,
        instructions_sum=outcome.sum,
    )
