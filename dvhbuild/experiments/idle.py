# SPDX-License-Identifier: GPL-2.0-or-later
"""A vCPU that halts, is woken, and halts again: by an IPI, by its timer, by the interrupt of a device.

Instructions are those from what wakes it (the write of the ICR, the deadline, the write of the device's doorbell) to
the first one of its handler. An operation ends when the vCPU sleeps again, or has another operation to do.
"""

from dvhbuild.experiments.ipi import HALTED
from dvhbuild.experiments.model import Experiment, Operation
from dvhbuild.experiments.timer import DELAY, EXPIRY
from dvhbuild.trace import Own

_DOORBELL = Own(actor=frozenset({"EPT_MISCONFIG", "EPT_VIOLATION"}), others=HALTED.others)

EXPERIMENT = Experiment(
    "idle",
    (
        Operation("halt-wake-ipi", HALTED),
        Operation("halt-wake-timer", EXPIRY, (f"delay={DELAY}",)),
        Operation("halt-wake-device", _DOORBELL),
    ),
    dvh=True,
)
