# SPDX-License-Identifier: GPL-2.0-or-later
"""The local APIC's timer in TSC-deadline mode: programming it (the paper's ProgramTimer), and its expiry."""

from dvhbuild.experiments.model import INTERRUPTED, Experiment, Operation, acting
from dvhbuild.trace import Own

_EXPIRY = Own(actor=frozenset({"*"}) | INTERRUPTED)
"""While a timer is awaited, L1's tick cannot be told from the timer that L1 keeps for L2: all of it counts."""

EXPERIMENT = Experiment(
    "timer",
    (
        Operation("timer-program", acting("MSR_WRITE")),
        Operation("timer-immediate", acting("MSR_WRITE", "INTERRUPT_WINDOW")),
        Operation("timer-expiry", _EXPIRY),
        Operation("timer-expiry-halted", _EXPIRY),
    ),
)
