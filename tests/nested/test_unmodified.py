# SPDX-License-Identifier: GPL-2.0-or-later
"""Linux as it is upstream, at one of the levels: what DVH gives without its help."""

from contextlib import contextmanager

import disks
import pytest
from counting import FEW, MANY, STALL, run_and_count

from dvhbuild import probe
from dvhbuild.build import Builder
from dvhbuild.experiments import traffic
from dvhbuild.lab import bring_up
from dvhbuild.load import Load
from dvhbuild.stack import load_stack

pytestmark = pytest.mark.nested


@pytest.fixture(scope="module")
def vp():
    return load_stack("vp").configured("on")


def patched(nest):
    """Whether each level's Linux has our patches."""
    asked = "test -e /sys/module/kvm_intel/parameters/halt_in_guest"
    return [level.agent.run(asked).status == 0 for level in nest.levels]


def test_l1_may_be_an_unmodified_linux(builder, vp, tmp_path):
    """The guests have another kernel than L0. (What L1 needs our patches for, timers and idle, is not used.)"""
    disk = disks.with_kernel(builder, Builder(builder.settings, patched=False).entry("linux"))
    l0, l1, l2 = vp.levels
    stack = vp.model_copy(update={"levels": (l0, l1.model_copy(update={"parameters": {}}), l2)})
    with bring_up(builder, stack, 1, tmp_path, fresh=True, disk=disk) as nest, probe.start(nest, 2) as session:
        assert patched(nest) == [True, False]
        for operation in ("ipi", "doorbell", "device-interrupt"):
            assert run_and_count(nest, session, operation, MANY) < FEW


@contextmanager
def l0_unmodified(builder, vp, level, directory):
    """An unmodified Linux as L0, with our QEMU: an irqfd, of vhost or of a disk's thread, wakes QEMU, which posts."""
    disk, stack = disks.with_kernel(builder, builder.entry("linux")), vp.model_copy(update={"patched": False})
    with bring_up(builder, stack, level, directory, fresh=True, disk=disk) as nest:
        assert patched(nest) == [False, *[True] * level]
        yield nest


def test_without_l0s_kernel_qemu_posts(builder, vp, tmp_path):
    with l0_unmodified(builder, vp, 1, tmp_path) as nest, probe.start(nest, 2) as session:
        for operation, count in (("doorbell", MANY), ("device-interrupt", MANY), ("disk-interrupt", 1000)):
            assert run_and_count(nest, session, operation, count) < FEW


def test_without_l0s_kernel_traffic_is_whole(builder, vp, tmp_path):
    with l0_unmodified(builder, vp, 2, tmp_path) as nest:
        l2 = Load(2, nest.levels[1].agent, nest.top.agent)
        for operation in traffic.EXPERIMENT.operations:
            outcome = l2.run(operation.name, 200, *operation.options)
            assert (outcome.ops, outcome.lost) == (200, 0)
            assert outcome.max < STALL
