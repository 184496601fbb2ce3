# SPDX-License-Identifier: GPL-2.0-or-later
"""The model of an experiment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from dvhbuild.trace import Own

BASE, OFF = "base", "off"
"""Configurations of a stack: without our patches; with them, but L1 is offered nothing of DVH. Others offer some."""

PLAIN = {BASE: BASE, OFF: "vm"}
"""In which of them L1 is measured as a plain guest, and what its rows say: whatever L1 is offered, it is the same."""

Guest = Literal["probe", "linux"]
GUESTS: tuple[Guest, ...] = get_args(Guest)
"""What performs an operation."""

INTERRUPTED = frozenset({"L1:EXTERNAL_INTERRUPT", "L1:PREEMPTION_TIMER"})
"""L0's interruptions of L1 while it works for the operation: own where the operation itself is an interrupt."""


@dataclass(frozen=True)
class Operation:
    """One operation of the probe (guest/probe/ops.c) or of a Linux (guest/load), and the exits that belong to it."""

    name: str
    own: Own
    options: tuple[str, ...] = ()
    """More words of the probe's `run`."""
    guest: Guest = "probe"


@dataclass(frozen=True)
class Experiment:
    """Operations that are measured together.

    `dvh`: DVH changes what they cost L2, so that they are measured in configurations that offer some of it as well.
    `watched`: no operations, but Linuxes that are left to themselves, or to programs; measured if it is asked for by
    its name. `packages`: it needs programs of Debian's.
    """

    name: str
    operations: tuple[Operation, ...] = ()
    dvh: bool = False
    watched: bool = False
    packages: bool = False

    def performed_by(self, guest: Guest) -> tuple[Operation, ...]:
        """The operations that are `guest`'s."""
        return tuple(operation for operation in self.operations if operation.guest == guest)

    def config(self, level: int, variant: str) -> str | None:
        """What the rows say for a guest at `level` of the stack's `variant`; None if it is not measured there."""
        if level == 1:
            return PLAIN.get(variant)
        return variant if self.dvh or variant in PLAIN else None


def acting(*reasons: str) -> Own:
    """Exits of the vCPU that performs the operation, and of no other."""
    return Own(actor=frozenset(reasons))
