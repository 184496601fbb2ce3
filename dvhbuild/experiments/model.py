# SPDX-License-Identifier: GPL-2.0-or-later
"""The model of an experiment."""

from __future__ import annotations

from dataclasses import dataclass

from dvhbuild.trace import Own

INTERRUPTED = frozenset({"L1:EXTERNAL_INTERRUPT", "L1:PREEMPTION_TIMER"})
"""L0's interruptions of L1 while it works for the operation: own where the operation itself is an interrupt."""


@dataclass(frozen=True)
class Operation:
    """One operation of the probe (guest/probe/ops.c), and the exits that belong to it."""

    name: str
    own: Own
    options: tuple[str, ...] = ()
    """More words of the probe's `run`."""


@dataclass(frozen=True)
class Experiment:
    """Operations that are measured together."""

    name: str
    operations: tuple[Operation, ...]


def acting(*reasons: str) -> Own:
    """Exits of the vCPU that performs the operation, and of no other."""
    return Own(actor=frozenset(reasons))
