# SPDX-License-Identifier: GPL-2.0-or-later
"""Interprocessor interrupts: to a vCPU that runs, to one that is halted, to oneself. The paper's SendIPI is `ipi`.

`linux-ipi` is Linux's own: a function call on the other CPU, and its answer.
"""

from dvhbuild.experiments.model import INTERRUPTED, Experiment, Operation, acting
from dvhbuild.trace import Own

_SENDER = frozenset({"MSR_WRITE"})
_RUNNING = Own(actor=_SENDER, others=frozenset({"EXTERNAL_INTERRUPT"}) | INTERRUPTED)
HALTED = Own(actor=_SENDER, others=frozenset({"*", "L1"}) | INTERRUPTED)

EXPERIMENT = Experiment(
    "ipi",
    (
        Operation("ipi", _RUNNING),
        Operation("ipi-send", _RUNNING),
        Operation("ipi-halted", HALTED),
        Operation("ipi-self", acting("MSR_WRITE", "APIC_WRITE")),
        Operation("linux-ipi", _RUNNING, guest="linux"),
    ),
    dvh=True,
)
