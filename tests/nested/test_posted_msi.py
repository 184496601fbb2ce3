# SPDX-License-Identifier: GPL-2.0-or-later
"""A plain guest of L0's KVM whose every MSI is posted by L0's IOMMU, under the load that it has on TCG as well."""

import logging

import disks
import pytest
from counting import traced

from dvhbuild import guests, posted, qtests
from dvhbuild.lab import bring_up
from dvhbuild.selftests import load_plan
from dvhbuild.stack import load_stack
from dvhbuild.trial import run_test

pytestmark = pytest.mark.nested

LOG = logging.getLogger(__name__)
"""What the load said: pytest --log-cli-level=info."""

OPERATIONS = 300
SECONDS = 300
"""For a phase of the load."""

TAPS = """brctl addbr br0 && ifconfig br0 up || exit 1
    for n in 0 1; do tunctl -t tap$n && brctl addif br0 tap$n && ifconfig tap$n up || exit 1; done"""
"""The wire between the guest's two network devices, which vhost serves."""

DISKS = f"for n in 0 1; do dd if={guests.QEMU} of=/run/disk$n bs=1M count=1 2>/dev/null || exit 1; done"

DEVICES = (
    *("-netdev", "tap,id=net0,ifname=tap0,script=no,downscript=no,vhost=on"),
    *("-device", "virtio-net-pci,netdev=net0,addr=0x10,romfile=,mac=52:54:00:00:00:01"),
    *("-netdev", "tap,id=net1,ifname=tap1,script=no,downscript=no,vhost=on"),
    *("-device", "virtio-net-pci,netdev=net1,addr=0x11,romfile=,mac=52:54:00:00:00:02"),
    *("-object", "iothread,id=disk"),
    *("-drive", "if=none,id=disk0,format=raw,file=/run/disk0"),
    *("-device", "virtio-blk-pci,drive=disk0,iothread=disk,num-queues=2,addr=0x12"),
    *("-drive", "if=none,id=disk1,format=raw,file=/run/disk1"),
    *("-device", "ide-hd,drive=disk1,bus=ide.0"),
)
IDLE = "0000:00:0[12]"
"""Our own devices: the agent's, and the disk that it starts from."""

LOAD = f"#!/bin/sh\nexec {posted.PLACE}/load {OPERATIONS} {SECONDS} 'vdb sda' '{IDLE}'\n".encode()

PINGS, MESSAGES = 100, 50
"""Pings, and the messages to KVM that they stay below: QEMU gives it one for each interrupt that it posts, KVM none."""


@pytest.fixture
def stack():
    """L0 as ever, and as L1 the guest of `dvhbuild test-qemu posted-msi`, with devices of a KVM host."""
    l0, plain, _ = load_stack("base-2cpu").levels
    guest = load_stack(posted.NAME).levels[0]
    iommu = guest.qemu[guest.qemu.index("-device") :]
    changes = {
        "qemu": (*plain.qemu, "-machine", "kernel-irqchip=split", *iommu),
        "devices": DEVICES,
        "host": (TAPS, DISKS),
    }
    levels = (l0, guest.model_copy(update=changes))
    return load_stack("base-2cpu").model_copy(update={"levels": levels, "configs": {}})


def test_no_interrupt_of_a_posted_guest_is_lost(builder, stack, tmp_path):
    disk = disks.with_kernel(builder, builder.store.obtain(builder.kernel(posted.KERNEL)))
    with bring_up(builder, stack, 0, tmp_path, disk=disk) as nest:
        nest.boot(1)
        l0, l1 = (level.agent for level in nest.levels)
        digest, _ = l0.check("sha256sum /run/disk0").split()
        l1.check(f"echo {digest} > {posted.PLACE}/sum")
        l1.check(f"cat > {posted.PLACE}/load && chmod +x {posted.PLACE}/load", stdin=posted.SCRIPT.read_bytes())
        l1.check(f"cat > {posted.PLACE}/{posted.NAME} && chmod +x {posted.PLACE}/{posted.NAME}", stdin=LOAD)
        with traced(l0, "kvm:kvm_msi_set_irq", "kvm_msi_set_irq") as messages:
            assert f"ops={PINGS} " in l1.check(f"dvhload ping {PINGS} 10.0.0.2")
        assert len(messages) < MESSAGES
        outcome, _ = run_test(nest, posted.NAME, load_plan(qtests.LIST), tmp_path, posted.PLACE)
        assert outcome.good, f"{outcome.verdict.why}: see {outcome.log}"
        LOG.info("%s", outcome.log.read_text())
