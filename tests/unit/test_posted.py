# SPDX-License-Identifier: GPL-2.0-or-later
"""The script that loads a guest whose MSIs are posted, run here, in a tree with what such a guest says."""

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from dvhbuild import posted
from dvhbuild.ksft import Kind, Verdict, judge
from dvhbuild.machine.tcg import TcgParts, command
from dvhbuild.selftests import Plan
from dvhbuild.settings import Settings
from dvhbuild.stack import load_stack

SAID = Path(__file__).with_name("posted")
"""What a guest said: /proc/interrupts, the IOMMU's table, /proc/net/netstat."""
ENTRIES = "sys/kernel/debug/iommu/intel/ir_translation_struct"
DATA = b"data" * 1024
MOVABLE = tuple(map(str, (25, *range(28, 35))))

TOOLS = {
    "dvhload": "exec /bin/sleep 0.2",
    "sleep": "exec /bin/sleep 0.005",
    "taskset": 'for word; do case $word in if=*) exec cat "${word#if=}" ;; esac; done',
    "nsenter": 'shift 3; exec "$@"',
    "dmesg": "cat $ROOT/dmesg",
}


@pytest.fixture
def guest(tmp_path):
    """A tree that stands for a guest, where all is well."""
    for path, text in {
        "proc/interrupts": (SAID / "interrupts").read_text(),
        "proc/net/netstat": (SAID / "netstat").read_text(),
        ENTRIES: (SAID / "entries").read_text(),
        "dmesg": "Linux version 6.12.117\nDMAR-IR: Enabled IRQ remapping in x2apic mode\n",
        "run/sum": f"{hashlib.sha256(DATA).hexdigest()}\n",
        "run/peer": "1\n",
        **{f"proc/irq/{number}/smp_affinity": "3\n" for number in MOVABLE},
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    (tmp_path / "dev").mkdir()
    for disk in ("vda", "sda"):
        (tmp_path / "dev" / disk).write_bytes(DATA)
    for name, body in TOOLS.items():
        tool(tmp_path, name, body)
    return tmp_path


def tool(guest, name, body):
    path = guest / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def run(guest, seconds=600, *words):
    environ = {"PATH": f"{guest / 'bin'}{os.pathsep}{os.environ['PATH']}", "ROOT": str(guest)}
    argv = ["sh", posted.SCRIPT, "100", str(seconds), *words]
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, check=False, timeout=60)
    assert not done.stderr
    return judge(done.returncode, done.stdout)


def change(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_guest_that_loses_nothing_is_well(guest):
    assert run(guest) == Verdict(Kind.OK)


@pytest.mark.parametrize(
    ("path", "old", "new", "what"),
    [
        ("proc/interrupts", "5724       7575", "13299          0", "14 each interrupt came to its CPUs"),
        ("proc/interrupts", "0      12288", "0          0", "14 each interrupt came to its CPUs"),
        ("proc/interrupts", "19979", "0", "15 each CPU was notified"),
        ("proc/interrupts", "PMN:", "PIN:", "15 each CPU was notified"),
        (ENTRIES, "8     ff:00.0", "8     00:1f.2", "16 all MSIs are posted"),
        (ENTRIES, "22    00:1f.2", "22    00:1f.3", "16 all MSIs are posted"),
        ("proc/net/netstat", "0 0 7", "0 1 7", "17 TCP did not time out"),
        ("proc/net/netstat", "TCPTimeouts", "TCPRetransmits", "17 TCP did not time out"),
        ("dmesg", "Enabled", "ata1.00: qc timeout\nEnabled", "18 the kernel does not complain"),
        ("dmesg", "Enabled", "No irq handler for 1.35\nEnabled", "18 the kernel does not complain"),
        ("dmesg", "Enabled", "DMAR: DRHD: handling fault status reg 2\nEnabled", "18 the kernel does not complain"),
        ("run/sum", "0", "1", "1 vda holds what was written there"),
    ],
)
def test_what_a_guest_should_not_say_is_a_failure(guest, path, old, new, what):
    change(guest / path, old, new)
    verdict = run(guest)
    assert verdict.kind is Kind.FAILED
    assert verdict.why.endswith(f"not ok, the first: {what}")


def test_a_device_that_nothing_loads_need_not_interrupt(guest):
    change(guest / "proc/interrupts", "5724       7575", "0          0")
    assert run(guest).why == "1 of 18 not ok, the first: 14 each interrupt came to its CPUs"
    assert run(guest, 600, "vda sda", "0000:00:1f.2") == Verdict(Kind.OK)


def test_other_disks_can_be_named(guest):
    (guest / "dev/vda").rename(guest / "dev/vdb")
    assert run(guest, 600, "vdb sda") == Verdict(Kind.OK)


def test_an_operation_that_fails_is_named(guest):
    tool(guest, "dvhload", '/bin/sleep 0.2; test "$1" != echo')
    assert run(guest).why == "1 of 18 not ok, the first: 6 echo"


def test_an_operation_that_hangs_is_named_and_the_rest_goes_on(guest):
    tool(guest, "dvhload", 'test "$1" != maerts || /bin/sleep 9; /bin/sleep 0.2')
    assert run(guest, seconds=20).why == "1 of 18 not ok, the first: 8 maerts: not done after 20 s"


def test_data_that_is_not_the_disks_is_a_failure(guest):
    tool(guest, "taskset", "echo something else")
    assert run(guest).why == "2 of 18 not ok, the first: 10 vda-all"


def test_interrupts_that_do_not_move_are_a_failure(guest):
    for number in MOVABLE:
        (guest / f"proc/irq/{number}/smp_affinity").unlink()
        (guest / f"proc/irq/{number}").rmdir()
    assert run(guest).why == "1 of 18 not ok, the first: 13 interrupts were moved"


def test_a_command_line_has_what_the_stack_says_and_no_msi_for_the_agent():
    parts = TcgParts(*map(Path, ("qemu", "bios", "bzImage", "initrd")), uplink="/dev/ttyS1")
    level = load_stack(posted.NAME).levels[0]
    words = command(parts, level, Path("run"))
    assert words[words.index("-append") + 1] == f"console=ttyS0 dvh.name=l0 dvh.uplink=/dev/ttyS1 {level.append}"
    assert {*level.qemu, *level.devices, "chardev:agent"} <= set(words)
    assert "virtio-serial-pci" not in words


def test_a_guest_that_does_not_boot_is_a_failure_that_says_why(tmp_path):
    tool(tmp_path, "qemu", "echo \"qemu: Property 'intel-iommu.pi' not found\"; exit 1")
    parts = TcgParts(tmp_path / "bin" / "qemu", *map(Path, ("bios", "bzImage", "initrd")))
    settings = Settings(root=tmp_path, cache=tmp_path / "cache")
    outcome = posted.run(parts, Plan(tests=("*",), seconds=20), tmp_path, settings)
    assert (outcome.test, outcome.good, outcome.verdict.kind) == (posted.NAME, False, Kind.FAILED)
    assert outcome.verdict.why.endswith("ended with status 1: qemu: Property 'intel-iommu.pi' not found")
    assert outcome.log.exists()
