# SPDX-License-Identifier: GPL-2.0-or-later
"""The local APIC's timer in TSC-deadline mode: programming it (the paper's ProgramTimer), and its expiry.

`linux-timer` is Linux's own: a sleep of 100 us on a CPU that idles meanwhile. The probe's halted CPU is in `idle`.
"""

from dvhbuild.experiments.model import INTERRUPTED, Experiment, Operation, acting
from dvhbuild.trace import Own

EXPIRY = Own(actor=frozenset({"*"}) | INTERRUPTED)
"""While a timer is awaited, L1's tick cannot be told from the timer that L1 keeps for L2: all of it counts."""

DELAY = 400_000
"""Instructions from programming to the deadline: L2 is asleep by then, where KVM does not poll (kvm.halt_poll_ns=0)."""

EXPERIMENT = Experiment(
    "timer",
    (
        Operation("timer-program", acting("MSR_WRITE")),
        Operation("timer-immediate", acting("MSR_WRITE", "INTERRUPT_WINDOW")),
        Operation("timer-expiry", EXPIRY),
        Operation("linux-timer", EXPIRY, guest="linux"),
    ),
    dvh=True,
)
