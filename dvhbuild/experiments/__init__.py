# SPDX-License-Identifier: GPL-2.0-or-later
"""What is measured: one module a mechanism, each an `EXPERIMENT` that says what L2 does and which exits are its own."""

from __future__ import annotations

from collections.abc import Sequence

from dvhbuild.errors import UserError
from dvhbuild.experiments import device, doorbell, exits, idle, idle_linux, ipi, port, timer, traffic, workloads
from dvhbuild.experiments.model import Experiment
from dvhbuild.stack import Stack

_MODULES = (exits, timer, idle, ipi, port, doorbell, device, traffic, idle_linux, workloads)
EXPERIMENTS = {module.EXPERIMENT.name: module.EXPERIMENT for module in _MODULES}


def choose(names: Sequence[str], stack: Stack) -> tuple[Experiment, ...]:
    """The experiments of those names, without names those that `stack` is for; raises UserError if there are none."""
    names = names or stack.experiments
    for name in names:
        if name not in EXPERIMENTS:
            raise UserError(f"{name}: no such experiment", remedy=f"one of: {', '.join(EXPERIMENTS)}")
    if not names:
        raise UserError(f"{stack.name}: this stack is for no experiments", remedy="name some")
    return tuple(EXPERIMENTS[name] for name in dict.fromkeys(names))
