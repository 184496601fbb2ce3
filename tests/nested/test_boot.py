# SPDX-License-Identifier: GPL-2.0-or-later
"""`dvhbuild boot` on a terminal of the test's: shells in the levels, the keys between them, and how it ends."""

import os
import shlex
import signal
import sys
from pathlib import Path

import pexpect
import pytest
from procs import descendants, left

pytestmark = pytest.mark.nested

LEAVE, OTHER = "\x1d", "\x1e"
SANE = "isig icanon iexten echo"
"""What stty says of a terminal that is not raw."""


class Terminal(pexpect.spawn):
    """A shell on a terminal that runs `dvhbuild boot --levels 1`, then says with which status, and what stty says."""

    def __init__(self):
        boot = shlex.join([sys.executable, "-m", "dvhbuild", "boot", "--levels", "1"])
        then = "status=$?; stty -a; echo ended with $status"
        # And not what readline, when pytest imports it, adds behind Python's back, and to what its workers have.
        environ = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        words = ["-c", f"{boot}; {then}"]
        super().__init__("/bin/sh", words, timeout=30, encoding="utf-8", dimensions=(24, 200), env=environ)

    def says_where(self, level):
        """Let the shell that is shown say its level, in words that its echo does not hold."""
        self.sendline("echo I am in $(cat /proc/sys/kernel/hostname)")
        self.expect_exact(f"I am in l{level}\r\n")

    def ends_with(self, status):
        self.expect_exact(SANE)
        self.expect_exact(f"ended with {status}\r\n")
        self.expect(pexpect.EOF)


@pytest.fixture
def terminal(builder):
    """Such a terminal, in L1's shell. Once it is closed, no process that it started may be left."""
    builder.artifacts  # noqa: B018 - built before, so that what is waited for is the boot
    with Terminal() as terminal:
        terminal.expect_exact("[L1; ", timeout=180)
        started = descendants(terminal.pid)
        assert len(started) > 1, "dvhbuild and the emulator"
        yield terminal
    assert not left(started)


def test_keys_go_from_level_to_level_and_leave(terminal):
    terminal.says_where(1)
    terminal.sendline("mine=kept")
    terminal.send(OTHER)
    terminal.expect_exact("[L0; ")
    terminal.says_where(0)
    terminal.send(OTHER)
    terminal.expect_exact("[L1; ")
    terminal.sendline("echo $mine; tty; stty size")
    terminal.expect(r"kept\r\n/dev/pts/\d+\r\n24 200\r\n")
    terminal.setwinsize(40, 100)
    terminal.sendline("until stty size | grep -q '40 100'; do :; done; echo it has $(echo grown)")
    terminal.expect_exact("it has grown\r\n")
    terminal.send(LEAVE)
    terminal.ends_with(0)


def test_a_shell_that_ends_gives_its_status(terminal):
    terminal.sendline("exit 7")
    terminal.ends_with(7)


def test_a_machine_that_dies_gives_the_terminal_back(terminal):
    emulator = next(pid for pid in descendants(terminal.pid) if Path(f"/proc/{pid}/comm").read_text() == "bochs\n")
    os.kill(emulator, signal.SIGKILL)
    terminal.expect_exact("dvhbuild: the emulator was killed by signal 9")
    terminal.ends_with(4)
