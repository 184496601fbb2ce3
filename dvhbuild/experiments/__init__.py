# SPDX-License-Identifier: GPL-2.0-or-later
"""What is measured: one module a mechanism, each an `EXPERIMENT` that says what L2 does and which exits are its own."""

from __future__ import annotations

from collections.abc import Sequence

from dvhbuild.errors import UserError
from dvhbuild.experiments import doorbell, exits, idle, idle_linux, ipi, port, timer
from dvhbuild.experiments.model import Experiment

_MODULES = (exits, timer, idle, ipi, port, doorbell, idle_linux)
EXPERIMENTS = {module.EXPERIMENT.name: module.EXPERIMENT for module in _MODULES}
ALL = tuple(name for name, experiment in EXPERIMENTS.items() if not experiment.watched)
"""What is measured unless something is asked for."""


def choose(names: Sequence[str]) -> tuple[Experiment, ...]:
    """The experiments of those names, `ALL` if there are none; raises UserError for a name that is not one."""
    for name in names:
        if name not in EXPERIMENTS:
            raise UserError(f"{name}: no such experiment", remedy=f"one of: {', '.join(EXPERIMENTS)}")
    return tuple(EXPERIMENTS[name] for name in dict.fromkeys(names or ALL))
