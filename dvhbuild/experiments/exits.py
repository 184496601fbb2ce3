# SPDX-License-Identifier: GPL-2.0-or-later
"""Instructions that always exit: the price of an exit itself. The paper's Hypercall is `vmcall`."""

from dvhbuild.experiments.model import Experiment, Operation, acting

EXPERIMENT = Experiment("exits", (Operation("cpuid", acting("CPUID")), Operation("vmcall", acting("VMCALL"))))
