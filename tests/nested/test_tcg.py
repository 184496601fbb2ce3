# SPDX-License-Identifier: GPL-2.0-or-later
"""The same bench on QEMU's TCG and kvm_amd: levels answer, and operations cost what they must on any processor."""

import subprocess
import sys

import pytest

from dvhbuild.experiments import choose
from dvhbuild.lab import bring_up
from dvhbuild.measure import measure
from dvhbuild.stack import load_stack

pytestmark = pytest.mark.nested


def test_boot_on_tcg_runs_what_a_pipe_says(builder):
    builder.artifacts  # noqa: B018 - built before, so that what has a limit is the boot
    script = "cat /proc/sys/kernel/hostname; grep -c '^flags.* svm' /proc/cpuinfo; ls /dev/kvm; exit 3\n"
    command = [sys.executable, "-m", "dvhbuild", "boot", "--levels", "1", "--machine", "tcg"]
    done = subprocess.run(command, input=script, capture_output=True, text=True, check=False, timeout=120)
    assert (done.stdout.split(), done.returncode) == (["l1", "2", "/dev/kvm"], 3), done.stderr


def test_exits_are_counted_on_tcg(builder, tmp_path):
    stack = load_stack("base-2cpu", machine="tcg")
    with bring_up(builder, stack, 0, tmp_path) as nest:
        assert nest.top.agent.check("cat /sys/module/kvm_amd/parameters/nested") == "1"
        experiments = [(experiment, "base") for experiment in choose(["exits", "port"], stack)]
        rows = {row.operation: row for row in measure(nest, 1, experiments, 200)}
    assert set(rows) == {"cpuid", "vmcall", "port-kernel", "port-user"}
    assert all(
        (row.ops, row.lost, row.l0_exits_per_op, row.l1_entries_per_op) == (200, 0, 1, 0) for row in rows.values()
    )
