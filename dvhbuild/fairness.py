# SPDX-License-Identifier: GPL-2.0-or-later
"""What else L1 has to do, on CPUs whose vCPUs of L2 come and go, and what it gets. The tasks are guest/load's."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from dvhbuild.load import Load
from dvhbuild.nest import Nest
from dvhbuild.probe import Outcome

BESIDE = {"linux-nap": 50, "linux-pipe": 50, "linux-spin": 100}
"""A task of L1, and how often it does what it does: sleeps, is woken up from the other CPU, spins for a millisecond."""

TOGETHER = {"linux-lock": 600, "linux-mix": 300}
"""What L1 and L2 do at the same time: contend for locks, which are PV spinlocks in L2; a mix of tasks."""


def loads(nest: Nest) -> tuple[Load, ...]:
    """What runs in L1, and in L2 if there is one."""
    agents = [linux.agent for linux in nest.levels]
    return tuple(Load(level, *agents[level - 1 : level + 1]) for level in range(1, len(agents)))


@contextmanager
def sleepless(nest: Nest) -> Iterator[None]:
    """L2's CPU 0 sleeps for 100 us, over and over."""
    l2 = nest.levels[2].agent
    channel = l2.start("while dvhload timer 1000 > /dev/null; do :; done")
    try:
        nest.levels[0].agent.check("sleep 0.1")
        yield
    finally:
        l2.stop(channel)


def beside(nest: Nest, operation: str, count: int) -> Outcome:
    """What L1 gets beside a `sleepless` L2."""
    with sleepless(nest):
        return loads(nest)[0].run(operation, count)


def together(nest: Nest, operation: str, count: int) -> Outcome:
    """What the one gets that takes longer, if all guests do it at once."""
    guests = loads(nest)
    with ThreadPoolExecutor(len(guests)) as pool:
        futures = [pool.submit(load.run, operation, count) for load in guests]
    return max((future.result() for future in futures), key=lambda outcome: outcome.sum)
