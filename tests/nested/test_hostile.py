# SPDX-License-Identifier: GPL-2.0-or-later
"""An L2 that lies to L0's vhost, or to its QEMU, about a queue harms nobody else, and fills nobody's log."""

import logging
import lzma
import subprocess
from pathlib import Path

import pytest
from reincarnation import die

from dvhbuild.lab import bring_up
from dvhbuild.stack import load_stack

pytestmark = pytest.mark.nested

LOG = logging.getLogger(__name__)

LIES = (
    *("queue-nowhere", "queue-interrupts", "size-odd", "ring-odd", "enable-0", "enable-again", "reset-early"),
    *("buffer-nowhere", "buffer-interrupts", "buffer-wraps", "buffer-huge"),
    *("chain-loops", "chain-leaves", "table-odd", "table-in-itself", "head-beyond", "index-jumps"),
)
PATIENCE = 240.0
"""Seconds."""

NOTIFICATIONS, MOVES, LINES = 2000, 500, 20
"""How often the device is told of each, and how many lines a log may grow by meanwhile."""

DEVICE = "0000:00:11.0"
"""The network device that vhost serves."""

TAP = "/sys/class/net/tap1"
"""Its other end, in L0."""

FAULT = r"DMAR: \[DMA (Read|Write) NO_PASID\] Request device \[00:11\.0\] fault addr 0x4000000000"
"""What L1's kernel says of an access that its IOMMU, which is L0's, does not allow (VT-d 4.1, 7.1)."""


@pytest.fixture(scope="module")
def nest(builder, tmp_path_factory):
    """Linux as L2, whose device has no driver but the hostile one."""
    directory = tmp_path_factory.mktemp("hostile")
    source, program = Path(__file__).with_name("hostile.c"), directory / "hostile"
    subprocess.run(["gcc", "-static", "-s", "-O2", "-Wall", "-Werror", "-o", program, source], check=True)
    with bring_up(builder, load_stack("vp").configured("on"), 2, directory) as nest:
        l2 = nest.top.agent
        sent = lzma.compress(program.read_bytes())  # else it takes 40 s to L2
        l2.check("xzcat > /run/hostile && chmod +x /run/hostile", stdin=sent, timeout=PATIENCE)
        l2.check(f"echo {DEVICE} > /sys/bus/pci/drivers/virtio-pci/unbind")
        yield nest


@pytest.fixture
def said(nest):
    """What L0's QEMU says from now on."""
    said = bytearray()
    nest.levels[1].qemu.attach(said.extend, lambda reason: said.extend(reason.encode()))
    return said


def lines(linux):
    return int(linux.agent.check("dmesg | wc -l"))


def test_all_lies_are_told(nest):
    assert tuple(nest.top.agent.check("/run/hostile").split()) == LIES


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_harms_nobody_else(nest, said, lie):
    l0, l1, l2 = nest.levels
    before = lines(l0)
    outcome = l2.agent.check(f"/run/hostile {DEVICE} {lie} {NOTIFICATIONS}", timeout=PATIENCE)
    LOG.info("%s: %s; L0's kernel says %d lines, its QEMU:\n%s", lie, outcome, lines(l0) - before, said.decode())
    assert outcome.startswith("status ")
    assert lines(l0) - before <= LINES
    assert said.count(b"\n") <= LINES
    assert "0% packet loss" in l2.agent.check("ping -q -c 3 -i 0.1 10.0.0.1")
    assert l1.agent.check("echo alive") == "alive"


def test_what_l1_does_not_allow_is_a_fault_of_its_iommu(nest):
    """Comes after the lies."""
    assert int(nest.levels[1].agent.check(f"dmesg | grep -cE '{FAULT}'")) > 0


def bind(nest):
    """Give the device to its own driver, anew, and try it."""
    l2, driver = nest.top.agent, "/sys/bus/pci/drivers/virtio-pci"
    l2.run(f"echo {DEVICE} > {driver}/unbind")
    l2.check(f"echo {DEVICE} > {driver}/bind && ifconfig eth1 10.0.1.3 netmask 255.255.255.0")
    assert "20 packets received, 0% packet loss" in l2.check("ping -q -c 20 -i 0.1 10.0.1.1")


def test_the_device_serves_its_own_driver_again(nest):
    bind(nest)


def test_vectors_change_while_the_device_works(nest, said):
    bind(nest)
    l0, l1, l2 = nest.levels
    before = lines(l0)
    l2.agent.check("ping -i 0.01 10.0.1.1 > /dev/null 2>&1 &")
    l2.agent.check(f"/run/hostile {DEVICE} vectors {MOVES}", timeout=PATIENCE)
    l2.agent.check("killall ping")
    assert l1.agent.check("echo alive") == "alive"
    assert lines(l0) - before <= LINES
    assert said.count(b"\n") <= LINES
    bind(nest)


def test_l1_is_killed_while_its_device_interrupts_l2(nest):
    """Comes last. What it had in L0's kernel ends with it: vhost's worker, the irqfds, its end of the tap."""
    l0, l2 = nest.levels[0].agent, nest.top.agent
    l0.check("yes | nc -l -p 5000 > /dev/null 2>&1 &")
    l2.check("nc 10.0.1.1 5000 > /dev/null 2>&1 &")
    sent = f"cat {TAP}/statistics/tx_packets"
    meanwhile = f"before=$({sent}); until [ $({sent}) -gt $((before + {NOTIFICATIONS})) ]; do :; done"
    assert l0.check(f"cat {TAP}/carrier") == "1"
    die(nest, f"{meanwhile}; kill -9 {nest.pid(1)}")
    l0.check(f"until [ $(cat {TAP}/carrier) = 0 ]; do :; done")
    assert l0.check("cat /proc/sys/kernel/tainted") == "0"
