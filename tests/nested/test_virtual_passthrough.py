# SPDX-License-Identifier: GPL-2.0-or-later
"""L2 with devices of L1's, and with L0's own: what a stack sets up is there, and what a device gives is right."""

import json
import logging

import pytest
from counting import FEW, MANY, STALL, run_and_count, traced

from dvhbuild import probe
from dvhbuild.errors import GuestError
from dvhbuild.experiments import device, traffic
from dvhbuild.lab import bring_up
from dvhbuild.load import Load
from dvhbuild.stack import Change, load_stack

pytestmark = pytest.mark.nested

LOG = logging.getLogger(__name__)
"""The figures: pytest --log-cli-level=info."""

STREAM, IN_FLIGHT = 8 << 20, 2 << 20
"""Bytes: what a stream is of, and what its receiver may not have counted yet when the sender is done."""

CONFIGS = ("off", "on")
"""Cascaded virtio, and L0's devices."""

MOVE = """
    while :; do
        for mask in 1 2; do
            for irq in $(sed -n 's/: .*virtio.*//p' /proc/interrupts); do echo $mask > /proc/irq/$irq/smp_affinity; done
        done
    done"""
"""Moves the interrupts of all virtio devices from one CPU to the other and back, for ever."""

MOVES, GRACE_PERIODS, SPARE = 10, 2, 5
"""Moves; what each costs of L0's grace periods (the entry is remapped, then posted again); those for other reasons."""

MOVE_AS_IT_COMES = f"""
    irq=$(sed -n 's/^ *\\([0-9]*\\):.*virtio3-input.0$/\\1/p' /proc/interrupts)
    for n in $(seq {MOVES}); do
        echo $((1 + n % 2)) > /proc/irq/$irq/smp_affinity && ping -q -c 1 10.0.1.1 > /dev/null || exit 1
    done
    awk '/virtio3-input.0/ {{ print $2, $3 }}' /proc/interrupts"""

TICKS = 20
"""At least so many echoes to an entry of L1: it has ticks, one in a hundred echoes; without DVH, 4.7 an echo."""

BESIDES_VCPUS = """
    for task in /proc/{qemu}/task/*; do
        read name < $task/comm
        case "$name" in
        "CPU "*/KVM | vhost-*) ;;
        *) sed -n 's/^se.sum_exec_runtime *: *//p' $task/sched ;;
        esac
    done | awk '{{ sum += $1 }} END {{ print sum }}'"""
"""Milliseconds that QEMU's other threads have run, of disks and the main loop; vhost's are the kernel's."""


@pytest.fixture(scope="module")
def vp():
    return load_stack("vp")


@pytest.fixture(scope="module", params=CONFIGS)
def nest(builder, vp, tmp_path_factory, request):
    """Linux as L2."""
    with bring_up(builder, vp.configured(request.param), 2, tmp_path_factory.mktemp(request.param)) as nest:
        yield nest


def test_l2_has_its_devices_of_whom_it_should(nest):
    l1 = nest.levels[1].agent
    bound = l1.run("ls /sys/bus/pci/drivers/vfio-pci | grep -c ^0000:").text.strip()
    assigned = [word for word in nest.stack.levels[2].devices if word.startswith("vfio-pci")]
    assert int(bound) == len(assigned)
    for slot in ("10", "11", "12"):
        assert (
            nest.top.agent.check(f"basename $(readlink /sys/bus/pci/devices/0000:00:{slot}.0/driver)") == "virtio-pci"
        )


def test_the_threads_of_disks_have_a_cpu_of_their_own(nest):
    allowed = """for name in $(grep -l "^IO disk" /proc/[0-9]*/task/*/comm); do
        sed -n "s/^Cpus_allowed_list:[[:space:]]*//p" ${name%comm}status
    done"""
    said = [level.agent.check(allowed).split() for level in nest.levels]
    cascaded = any("iothread" in word for word in nest.stack.levels[2].devices)
    assert said == [["1"], ["1"] if cascaded else [], []]


@pytest.mark.parametrize("network", [0, 1], ids=["qemu", "vhost"])
def test_l2_pings_l0(nest, network):
    assert "20 packets received, 0% packet loss" in nest.top.agent.check(f"ping -q -c 20 -i 0.1 10.0.{network}.1")


def test_l2_reads_the_disk_that_l0_has(nest):
    said = nest.levels[0].agent.check("dd if=/run/disk bs=64k count=32 2>/dev/null | sha256sum")
    for flags in ("", "iflag=direct"):
        assert nest.top.agent.check(f"dd if=/dev/vdb bs=64k count=32 {flags} 2>/dev/null | sha256sum") == said


def test_what_linux_performs_is_checked(nest):
    l2 = Load(2, nest.levels[1].agent, nest.top.agent)
    operations = (*device.EXPERIMENT.operations, *traffic.EXPERIMENT.operations)
    for operation in (operation for operation in operations if operation.guest == "linux"):
        assert l2.run(operation.name, 50, *operation.options).ops == 50
    with pytest.raises(GuestError, match=r"0000:00:1f\.0: no virtio device"):
        l2.run("linux-doorbell", 50, "0000:00:1f.0")
    with pytest.raises(GuestError, match="Network is unreachable"):
        l2.run("linux-echo", 50, "10.0.9.1")
    with pytest.raises(GuestError, match=r"ping 1 is lost"):
        l2.run("linux-ping", 50, "10.0.0.9")
    with pytest.raises(GuestError, match=r"read 1: at \d+ is not what was written there"):
        l2.run("linux-read", 50, "/dev/vdb", "/dev/vda")


def test_interrupts_that_move_are_not_lost(nest):
    l2 = nest.top.agent
    session = Load(2, nest.levels[1].agent, l2)
    count = "awk '/virtio/ { for (n = 2; n < 4; n++) sum[n] += $n } END { print sum[2], sum[3] }' /proc/interrupts"
    before = [int(word) for word in l2.check(count).split()]
    mover = l2.start(MOVE)
    try:
        for operation in (operation for operation in traffic.EXPERIMENT.operations if "maerts" not in operation.name):
            outcome = session.run(operation.name, 100, *operation.options)
            assert (outcome.ops, outcome.lost) == (100, 0)
            assert outcome.max < STALL
    finally:
        l2.stop(mover)
    after = [int(word) for word in l2.check(count).split()]
    assert all(now - then > 100 for then, now in zip(before, after, strict=True))


def test_l0_sees_what_l2_writes(nest):
    """Comes after what reads the disk as it was."""
    nest.top.agent.check("dd if=/dev/urandom of=/dev/vdb bs=4k seek=100 count=16 oflag=direct conv=fsync")
    part = "bs=4k skip=100 count=16 2>/dev/null | sha256sum"
    assert nest.levels[0].agent.check(f"dd if=/run/disk {part}") == nest.top.agent.check(f"dd if=/dev/vdb {part}")


@pytest.mark.parametrize("direction", ["", "--reverse"], ids=["to-l0", "from-l0"])
@pytest.mark.parametrize("network", [0, 1], ids=["qemu", "vhost"])
def test_iperf3_streams(nest, network, direction):
    said = nest.top.agent.check(f"iperf3 --client 10.0.{network}.1 --bytes {STREAM} --json {direction}", timeout=240)
    end = json.loads(said)["end"]
    LOG.info("10.0.%d.1 %s: %.0f Mbit/s", network, direction, end["sum_received"]["bits_per_second"] / 1e6)
    assert end["sum_sent"]["bytes"] >= STREAM
    assert end["sum_received"]["bytes"] >= STREAM - IN_FLIGHT


def test_packets_by_vhost_need_neither_l1_nor_l0s_qemu(nest):
    l0, l2 = nest.levels[0].agent, Load(2, nest.levels[1].agent, nest.top.agent)
    qemu = nest.pid(1)
    entries, threads = f"cat /sys/kernel/debug/kvm/{qemu}-*/nested_run", BESIDES_VCPUS.format(qemu=qemu)
    assigned = any("vfio-pci" in word for word in nest.stack.levels[2].devices)
    count = MANY if assigned else MANY // 10
    before, worked = int(l0.check(entries)), float(l0.check(threads))
    outcome = l2.run("linux-echo", count, "10.0.1.1")
    by_l1, by_qemu = int(l0.check(entries)) - before, float(l0.check(threads)) - worked
    LOG.info("%d packets: L1 entered L2 %d times, L0's QEMU worked for %.1f ms", count, by_l1, by_qemu)
    assert (outcome.ops, outcome.lost) == (count, 0)
    assert (by_l1 < count // TICKS) == assigned
    assert by_qemu < 1 or not assigned


def test_l0s_kvm_waits_only_for_what_a_move_changes(nest):
    """L1 masks the interrupt, and writes its entry several times. For what is news KVM waits for a grace period:
    until L0's next tick, if L2 keeps the other CPU busy.
    """
    with traced(nest.levels[0].agent, "workqueue:workqueue_execute_start", "process_srcu") as waits:
        assert all(int(count) > 1 for count in nest.top.agent.check(MOVE_AS_IT_COMES).split())
    assert len(waits) <= MOVES * GRACE_PERIODS + SPARE


@pytest.mark.parametrize(("name", "config"), [("vp", "off"), ("vp", "on"), ("vp-nopi", "on")])
def test_devices_that_interrupt_lose_nothing(builder, tmp_path, name, config):
    stack = load_stack(name).configured(config)
    with bring_up(builder, stack, 1, tmp_path) as nest, probe.start(nest, 2) as session:
        for operation, count in (("doorbell", MANY), ("device-interrupt", MANY), ("disk-interrupt", 1000)):
            direct = config == "on" and (name == "vp" or operation == "doorbell")
            assert (run_and_count(nest, session, operation, count) < FEW) == direct


@pytest.mark.parametrize(
    ("operation", "fault", "says"),
    [
        ("device-interrupt", "lost", "lost: vector"),
        ("device-interrupt", "surplus", "surplus cpu0=1"),
        ("disk-interrupt", "vector", "wrong: expected vector"),
        ("doorbell", "vector", "wrong: expected vector"),
    ],
)
def test_a_device_that_does_wrong_is_told(builder, vp, tmp_path, operation, fault, says):
    with bring_up(builder, vp.configured("off"), 0, tmp_path) as nest, probe.start(nest, 1) as session:
        with pytest.raises(GuestError, match=says):
            session.run(operation, 20, f"fault={fault}")


def test_a_device_that_is_not_there_is_told(builder, stack, tmp_path):
    with bring_up(builder, stack, 0, tmp_path) as nest, probe.start(nest, 1) as session:
        with pytest.raises(GuestError, match="op=doorbell no virtio disk"):
            session.run("doorbell", 20)


def test_a_setup_that_fails_is_told(builder, vp, tmp_path):
    changed = vp.model_copy(update={"levels": vp.changed({1: Change(host=("tunctl -t no/tap",))})})
    with bring_up(builder, changed, 0, tmp_path) as nest:
        with pytest.raises(GuestError, match="L0: tunctl -t no/tap: failed"):
            nest.boot(1)
