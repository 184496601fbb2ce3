# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices of the level below, or of L0: the doorbell of a virtio queue (the paper's DevNotify), and interrupts.

`device-interrupt` is from the write of a register of QEMU's edu, which makes it interrupt at once, to the handler on
the other CPU, which runs. `disk-interrupt` is the same of a virtio disk: from its doorbell, through its own thread.
`linux-doorbell` is that disk's as well, rung under a Linux.
"""

from dvhbuild.experiments.model import INTERRUPTED, Experiment, Operation, acting
from dvhbuild.trace import Own

_ALL = frozenset({"*", "L1"}) | INTERRUPTED
_DOORBELL = frozenset({"EPT_MISCONFIG", "EPT_VIOLATION"})

EXPERIMENT = Experiment(
    "device",
    (
        Operation("doorbell", acting(*_DOORBELL)),
        Operation("linux-doorbell", acting(*_DOORBELL), ("0000:00:12.0",), guest="linux"),
        Operation("device-interrupt", Own(actor=_DOORBELL, others=_ALL)),
        Operation("disk-interrupt", Own(actor=_ALL, others=_ALL)),
    ),
    dvh=True,
)
