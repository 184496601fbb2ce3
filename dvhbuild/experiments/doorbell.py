# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes to a doorbell (an ioeventfd of QEMU's pci-testdev), in memory and in port space: the paper's DevNotify."""

from dvhbuild.experiments.model import Experiment, Operation, acting

EXPERIMENT = Experiment(
    "doorbell",
    (
        Operation("doorbell-mmio", acting("EPT_MISCONFIG", "EPT_VIOLATION")),
        Operation("doorbell-pio", acting("IO_INSTRUCTION")),
    ),
)
