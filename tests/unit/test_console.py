# SPDX-License-Identifier: GPL-2.0-or-later
"""Consoles: recorded logs, each with its negative twin, through the cleaner, the matcher, Log and Stream."""

import os
import re
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvhbuild.console import TAIL, Log, StampedFile, Stream
from dvhbuild.errors import DvhError, GuestError, HostError
from dvhbuild.hub import Deadline, Hub
from dvhbuild.lines import Line, PtyLine
from dvhbuild.loglines import MAX_LINE, PATTERNS, Cleaner, Lines, Matcher

LOGS = Path(__file__).parent / "logs"

FATAL = {
    "panic": "[    3.1] Kernel panic - not syncing: Fatal exception",
    "rootfs": 'VFS: Cannot open root device "" or unknown-block(0,0): error -19',
    "oops": "[    1.0][    T1] Oops: general protection fault, probably for non-canonical address 0xdead: 0000 [#1]",
    "bug": "[    9.0] kernel BUG at arch/x86/kvm/vmx/vmx.c:1234!",
    "warning": "WARNING: CPU: 1 PID: 77 at arch/x86/kvm/vmx/nested.c:4321 nested_vmx_vmexit+0x1/0x2",
    "soft-lockup": "watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [qemu-system-x86:90]",
    "hard-lockup": "watchdog: Watchdog detected hard LOCKUP on cpu 1",
    "rcu-stall": "rcu: INFO: rcu_preempt self-detected stall on CPU",
    "hung-task": "INFO: task qemu:90 blocked for more than 120 seconds.",
    "kasan": "BUG: KASAN: slab-use-after-free in vmx_vcpu_run+0x1/0x2",
    "lockdep": "WARNING: possible circular locking dependency detected",
    "oom": "Out of memory: Killed process 90 (qemu-system-x86) total-vm:1kB",
    "init": "Kernel panic? No working init found.  Try passing init= option to kernel.",
    "kvm": "KVM internal error. Suberror: 1",
    "triple-fault": "00012345i[CPU0  ] >>PANIC<< exception(): 3rd (13) exception with no resolution",
    "no-boot": "No bootable device.",
    "emulator": "00000000e[BIOS  ] >>PANIC<< ROM: couldn't open ROM image file",
}
SPLATS = (
    ("kasan", "[   12.3] BUG: KASAN: slab-out-of-bounds in nested_vmx_load_msr+0x1/0x2"),
    ("lockdep", "[   12.3] WARNING: possible circular locking dependency detected"),
    ("lockdep", "WARNING: possible recursive locking detected"),
    ("lockdep", "WARNING: inconsistent lock state"),
    ("lockdep", "WARNING: suspicious RCU usage"),
    ("lockdep", "WARNING: HARDIRQ-safe -> HARDIRQ-unsafe lock order detected"),
    ("lockdep", "WARNING: bad unlock balance detected!"),
    ("lockdep", "WARNING: bad contention detected!"),
    ("lockdep", "WARNING: held lock freed!"),
    ("lockdep", "WARNING: lock held when returning to user space!"),
    ("lockdep", "WARNING: vmx_ipiv_test/77 still has locks held!"),
    ("lockdep", "BUG: sleeping function called from invalid context at kernel/locking/mutex.c:585"),
    ("lockdep", "BUG: scheduling while atomic: vmx_ipiv_test/77/0x00000002"),
    ("bug", "BUG: using smp_processor_id() in preemptible [00000000] code: vmx_ipiv_test/77"),
    ("bug", "BUG kmalloc-64 (Not tainted): Right Redzone overwritten"),
    ("bug", "UBSAN: array-index-out-of-bounds in arch/x86/kvm/vmx/nested.c:4321:5"),
    ("warning", "[   12.3] WARNING: CPU: 1 PID: 77 at arch/x86/kvm/x86.c:1 kvm_arch_vcpu_ioctl_run+0x1/0x2"),
)
HARMLESS = (
    "traps: x[44] general protection fault ip:40101a sp:7ffcf02c79a8 error:0 in x[101a,401000+1000]",
    "x[45]: segfault at 8 ip 000000000040100f sp 00007ffeecd00db8 error 6 in x[100f,401000+1000]",
    "Kernel command line: console=ttyS0 panic=-1 oops=panic softlockup_panic=1 nmi_watchdog=panic",
    "DEBUG: this is no BUG, and there is no panic",
    'PCI: Using host bridge windows from ACPI; if necessary, use "pci=nocrs" and report a bug',
    "kvm_intel: VMX not supported by CPU 0",
    "rcu: RCU event tracing is enabled.",
    "Run /init as init process",
    "smpboot: x86: Booting SMP configuration:",
    "RAS: Correctable Errors collector initialized.",
    "WARNING: this driver is deprecated",
)


def findings(data, size=700):
    matcher, cleaner, lines = Matcher(), Cleaner(), Lines()
    for at in range(0, len(data), size):
        for line in lines.feed(cleaner.feed(data[at : at + size])):
            matcher.feed(line)
    matcher.feed(lines.partial)
    return matcher.finding


@pytest.mark.parametrize("kind", sorted(pattern.kind for pattern in PATTERNS))
def test_each_kind_of_death_is_seen(kind):
    finding = Matcher().feed(FATAL[kind])
    assert finding is not None
    assert finding.kind == kind


@pytest.mark.parametrize(("kind", "line"), SPLATS)
def test_what_a_debug_kernel_finds_is_seen(kind, line):
    assert Matcher().feed(line).kind == kind


@pytest.mark.parametrize("line", HARMLESS)
def test_a_harmless_line_is_none(line):
    assert Matcher().feed(line) is None


def test_the_first_finding_is_kept():
    matcher = Matcher()
    assert matcher.feed(FATAL["oops"]).kind == "oops"
    assert matcher.feed(FATAL["panic"]) is None
    assert matcher.finding.kind == "oops"


@pytest.mark.parametrize(
    ("log", "kind"),
    [
        ("good-boot", None),
        ("oops", "oops"),
        ("panic", "panic"),
        ("no-root", "rootfs"),
        ("hang", None),
        ("garbled", None),
        ("garbled-panic", "panic"),
    ],
)
@pytest.mark.parametrize("size", [1, 700, 1 << 20])
def test_recorded_logs(log, kind, size):
    finding = findings((LOGS / f"{log}.log").read_bytes(), size)
    assert (finding.kind if finding else None) == kind


noise = st.sampled_from(
    [b"\x1b[0;1m", b"\x1b]0;t\x07", b"\x1bc", b"\r\n", b"\n", b"\xe2\x82\xac", b"\xff", b"\0", b"\x1b"]
)


@given(st.lists(st.one_of(noise, st.binary(max_size=20), st.text(max_size=9).map(str.encode)), max_size=20), st.data())
def test_clean_text_does_not_depend_on_how_bytes_are_split(parts, data):
    whole = b"".join(parts)
    cut = data.draw(st.integers(0, len(whole)))
    split = Cleaner()
    assert split.feed(whole[:cut]) + split.feed(whole[cut:]) == Cleaner().feed(whole)


def test_what_is_left_of_two_escape_sequences_is_not_taken_for_a_third():
    split = Cleaner()
    assert split.feed(b"\x1b \x1b") + split.feed(b"[0;1m") == Cleaner().feed(b"\x1b \x1b[0;1m") == " "


def test_what_only_begins_like_an_escape_sequence_is_not_held_for_ever():
    assert "panic" in "".join(map(Cleaner().feed, [b"\x1b]", b"x" * 200, b"y" * 200, b"panic"]))


def test_a_line_without_end_is_cut():
    assert [len(line) for line in Lines().feed("x" * (2 * MAX_LINE + 5))] == [MAX_LINE, MAX_LINE]


@pytest.fixture
def hub():
    with Hub() as made:
        yield made


class Console:
    """A console of which the test is the guest."""

    def __init__(self, hub, path):
        ours, self.guest = os.pipe()
        self.path = path
        self.log = Log(hub, Line(hub, ours, "com1"), path, level=1)

    def say(self, data):
        while data:
            data = data[os.write(self.guest, data) :]


@pytest.fixture
def console(hub, tmp_path):
    made = Console(hub, tmp_path / "l1.log")
    yield made
    made.log.close()
    os.close(made.guest)


def wait_failure(hub, seconds=5.0):
    with pytest.raises(DvhError) as caught:
        hub.wait(lambda: None, seconds, "nothing", level=1)
    return caught.value


def unstamped(data):
    """The bytes that were logged, without the times."""
    return re.sub(rb"(?m)^ *\d+\.\d{3} ", b"", data)


def test_a_log_has_every_byte_with_its_time(hub, console):
    data = (LOGS / "garbled.log").read_bytes()
    stream = console.log.stream()
    console.say(data + b"\nthe end\n")
    stream.expect("the end\n", 5)
    logged = console.path.read_bytes()
    assert unstamped(logged) == data + b"\nthe end\n"
    assert all(float(line.split()[0]) < 60 for line in logged.splitlines() if line.strip())


line_parts = st.sampled_from([b"a line\n", b"\n", b"part", b"    1.234 ", b"\r\n", b"\xff\0"])


@given(st.lists(st.lists(line_parts, max_size=4).map(b"".join), max_size=6))
def test_a_stamped_file_gives_back_what_was_written(tmp_path_factory, chunks):
    stamped = StampedFile(tmp_path_factory.mktemp("stamped") / "log", lambda: 12.3456)
    for chunk in chunks:
        stamped.write(chunk)
    stamped.close()
    assert unstamped(stamped.path.read_bytes()) == b"".join(chunks)


def test_a_disk_that_is_full_is_told_with_the_log_and_a_remedy(hub):
    console = Console(hub, Path("/dev/full"))
    console.say(b"a line\n")
    error = wait_failure(hub)
    console.log.close()
    assert isinstance(error, HostError)
    assert error.message == "/dev/full: No space left on device"
    assert "dvhbuild clean" in error.remedy


def test_an_error_of_the_system_is_told_with_its_file_and_no_wrong_remedy(hub):
    def fail():
        raise PermissionError(13, "Permission denied", "/some/file")

    hub.later(0, fail)
    error = wait_failure(hub)
    assert (type(error), error.message, error.remedy) == (HostError, "/some/file: Permission denied", None)


def test_a_good_boot_does_not_fail(hub, console):
    stream = console.log.stream()
    console.say((LOGS / "good-boot.log").read_bytes())
    match = stream.expect([r"Kernel panic", r"reboot: (Power) down"], 5)
    assert (match.index, match.groups) == (1, ("Power",))
    time.sleep(0.05)
    hub.raise_failure()


def test_an_oops_fails_every_wait_with_all_that_was_said(hub, console):
    console.say((LOGS / "oops.log").read_bytes())
    error = wait_failure(hub)
    assert isinstance(error, GuestError)
    assert (error.level, error.log) == (1, console.path)
    assert error.message.startswith("L1: the kernel oopsed: BUG: kernel NULL pointer")
    assert len(error.tail) == TAIL
    assert any("Attempted to kill the idle task" in line for line in error.tail)
    with pytest.raises(GuestError, match="oopsed"):
        console.log.stream().expect("anything", 5)


def test_a_panic_is_told_once_it_is_complete(hub, console):
    first, rest = (LOGS / "panic.log").read_bytes().split(b"Call Trace:")
    console.say(first)
    time.sleep(0.3)
    assert hub.failure is None
    console.say(b"Call Trace:" + rest)
    error = wait_failure(hub)
    assert any("Kernel Offset" in line for line in error.tail)


def test_a_bios_that_gives_up_without_a_newline(hub, console):
    console.say(b"SeaBIOS\nNo bootable device.")
    assert "nothing to boot" in wait_failure(hub).message


def test_a_hang_says_what_was_awaited_and_shows_the_last_lines(console):
    stream = console.log.stream()
    console.say((LOGS / "hang.log").read_bytes())
    with pytest.raises(GuestError, match=r"L1: the agent's start: not after 0.3 s") as caught:
        stream.expect("Run /init", 0.3, "the agent's start")
    assert "9p" in "".join(caught.value.tail)
    assert caught.value.log == console.path


def test_a_stream_that_ends_says_so(hub, tmp_path):
    console = Console(hub, tmp_path / "l1.log")
    stream = console.log.stream()
    console.say(b"nearly")
    os.close(console.guest)
    with pytest.raises(GuestError, match="it ended: closed by the other side"):
        stream.expect("never", 5)


def test_silence_in_guest_time_is_the_machines_to_notice(tmp_path):
    guest_time = iter(range(10))
    with Hub(lambda: GuestError("L0: silent for 5 guest seconds", level=0) if next(guest_time) > 4 else None) as hub:
        console = Console(hub, tmp_path / "l0.log")
        with pytest.raises(GuestError, match="silent for 5 guest seconds"):
            console.log.stream().expect("never", 60)


def test_an_emulator_that_dies_ends_waits_at_once_and_a_panic_explains_it(tmp_path):
    dead = []
    with Hub(lambda: dead[0] if dead else None) as hub:
        console = Console(hub, tmp_path / "l0.log")
        timer = threading.Timer(0.1, lambda: dead.append(HostError("the emulator exited with status 1")))
        timer.start()
        begin = time.monotonic()
        with pytest.raises(HostError, match="exited with status 1"):
            console.log.stream().expect("never", 60)
        assert time.monotonic() - begin < 3
    with Hub(lambda: dead[0]) as hub:
        console = Console(hub, tmp_path / "l0.log")
        console.say(FATAL["panic"].encode())  # not even a newline came out
        with pytest.raises(GuestError, match="Kernel panic"):
            console.log.stream().expect("never", 60)


def test_megabytes_are_quick(console):
    stream = console.log.stream()
    line = b"[   12.345678] kvm: a quite ordinary line, of which there are many, with an error and a fault in it\n"
    begin = time.process_time()
    writer = threading.Thread(target=lambda: console.say(line * 50_000 + b"the end\n"))
    writer.start()
    stream.expect("the end\n", 30)
    writer.join()
    assert time.process_time() - begin < 5  # it takes about 0.3 s


def test_a_callback_that_fails_is_heard_of(hub):
    ours, theirs = os.pipe()
    hub.watch(ours, lambda _events: 1 // 0)
    os.write(theirs, b"x")
    assert "ZeroDivisionError" in wait_failure(hub).message


def test_a_pty_line_is_raw_and_survives_its_user(hub):
    line = PtyLine(hub, "com2")
    heard = bytearray()
    line.attach(heard.extend, lambda reason: heard.extend(reason.encode()))
    for data in (bytes(range(256)), b"again\n"):
        user = os.open(line.path, os.O_RDWR | os.O_NOCTTY)
        os.write(user, data)
        hub.wait(lambda: heard.endswith(data) or None, 5, "the bytes", level=0)  # noqa: B023
        os.close(user)
    line.write(b"\x03\r\n")
    user = os.open(line.path, os.O_RDWR | os.O_NOCTTY)
    assert os.read(user, 10) == b"\x03\r\n"
    os.close(user)
    line.close()


def test_a_stream_types_and_reads(hub):
    line = PtyLine(hub, "com1")
    user = os.open(line.path, os.O_RDWR | os.O_NOCTTY)
    stream = Stream.of(hub, line, level=0)
    os.write(user, b"\x1b[6n\x1b[1mlogin:\x1b[0m ")
    stream.expect("login: $", 5)
    stream.send("root\n")
    assert os.read(user, 10) == b"root\n"
    os.close(user)
    line.close()


def test_a_deadline_may_run_on_a_guests_clock():
    clock = [0.0]
    deadline = Deadline(5, lambda: clock[0])
    assert not deadline.expired
    assert Deadline.of(deadline) is deadline
    clock[0] = 5
    assert deadline.expired
    assert deadline.left == 0
