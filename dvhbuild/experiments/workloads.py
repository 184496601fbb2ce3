# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs that others have written, in a Linux or between it and L0: hackbench, netperf, memcached, Apache."""

from dvhbuild.experiments.model import Experiment

EXPERIMENT = Experiment("workloads", dvh=True, watched=True, packages=True)
