# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads of an I/O port that the hypervisor serves in its kernel, and of one that it serves in QEMU."""

from dvhbuild.experiments.model import Experiment, Operation, acting

EXPERIMENT = Experiment(
    "port",
    (Operation("port-kernel", acting("IO_INSTRUCTION")), Operation("port-user", acting("IO_INSTRUCTION"))),
)
