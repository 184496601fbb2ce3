# SPDX-License-Identifier: GPL-2.0-or-later
"""A Linux that has nothing to do for ten seconds: who is woken up for that; and what else L1 has to do meanwhile."""

from dvhbuild.experiments.model import Experiment

EXPERIMENT = Experiment("idle-linux", dvh=True, watched=True)
