# SPDX-License-Identifier: GPL-2.0-or-later
"""Shells in the levels of a nest, joined to our own terminal; or fed from a pipe, when there is no terminal."""

from __future__ import annotations

import os
import select
import shutil
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager

from dvhbuild.channel import Channel
from dvhbuild.nest import Nest

LEAVE = b"\x1d"
"""Ctrl-]"""
OTHER = b"\x1e"
"""Ctrl-^"""
HELP = "Ctrl-] leaves, Ctrl-^ goes to the next lower level (from L0 to the highest)"
POLL = 0.1
"""Seconds between two looks at whether the shell has ended."""


def interact(nest: Nest) -> int:
    """Join a shell in the highest level to standard input and output; return its exit status, 0 when left.

    Raises whatever fails in the machine meanwhile.
    """
    if sys.stdin.isatty():
        with _raw(sys.stdin.fileno()):
            return _Session(nest).follow()
    return _feed(nest)


def _feed(nest: Nest) -> int:
    """Run what standard input says, as a script."""
    shell = nest.top.agent.start("/bin/sh", with_input=True)
    shell.attach(_print, lambda _reason: None)
    while not shell.over:
        nest.machine.hub.look()
        if not select.select([sys.stdin.fileno()], [], [], POLL)[0]:
            continue
        data = os.read(sys.stdin.fileno(), 4096)
        if not data:
            shell.eof()
            break
        shell.write(data)
    return nest.top.agent.wait_exit(shell, float("inf"))


def _print(data: bytes) -> None:
    while data:
        data = data[os.write(sys.stdout.fileno(), data) :]


@contextmanager
def _raw(terminal: int) -> Iterator[None]:
    saved = termios.tcgetattr(terminal)
    tty.setraw(terminal)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, saved)


class _Session:
    """One terminal, and a shell in each level that was visited."""

    def __init__(self, nest: Nest) -> None:
        self._nest = nest
        self._shells: dict[int, Channel] = {}
        self._shown = -1

    def follow(self) -> int:
        shell = self._show(self._nest.top.number)
        while not shell.over:
            self._nest.machine.hub.look()
            if not select.select([sys.stdin.fileno()], [], [], POLL)[0]:
                continue
            typed = os.read(sys.stdin.fileno(), 1024)
            before, leave, _ = typed.partition(LEAVE)
            if leave or not typed:
                shell.write(before)
                return 0
            before, other, after = typed.partition(OTHER)
            shell.write(before)
            if other:
                shell = self._show((self._shown or len(self._nest.levels)) - 1)
                shell.write(after)
        return shell.exit.status if shell.exit else 1

    def _show(self, number: int) -> Channel:
        """Go to level `number`, into the shell that was left there."""
        self._shown = number
        _print(f"\r\n[L{number}; {HELP}]\r\n".encode())
        if number not in self._shells or self._shells[number].over:
            columns, rows = shutil.get_terminal_size()
            term = os.environ.get("TERM", "dumb")
            shell = self._nest.levels[number].agent.shell(rows, columns, term=term)
            shell.attach(lambda data: self._heard(number, data), lambda _reason: None)
            self._shells[number] = shell
        else:
            self._shells[number].write(b"\n")
        return self._shells[number]

    def _heard(self, number: int, data: bytes) -> None:
        if number == self._shown:
            _print(data)
