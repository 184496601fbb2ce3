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

    Raises whatever fails in the machine meanwhile, and BrokenPipeError if nobody reads standard output any more.
    """
    if sys.stdin.isatty():
        with _raw(sys.stdin.fileno()):
            return _Session(nest).follow()
    return _feed(nest)


def _feed(nest: Nest) -> int:
    """Run what standard input says, as a script."""
    shell = nest.top.agent.start("/bin/sh", with_input=True)
    screen = _Screen()
    shell.attach(lambda data: screen.show(shell, data), lambda _reason: None)
    while not shell.over:
        nest.machine.hub.look()
        if not select.select([sys.stdin.fileno()], [], [], POLL)[0]:
            continue
        data = os.read(sys.stdin.fileno(), 4096)
        if not data:
            shell.eof()
            break
        shell.write(data)
    nest.machine.hub.wait(lambda: shell.over or None, float("inf"), "the shell's end", level=nest.top.number)
    screen.look()
    return nest.top.agent.wait_exit(shell, float("inf"))


class _Screen:
    """Standard output, as what shells print to: a shell whose reader has left (a broken pipe) is ended."""

    def __init__(self) -> None:
        self._left: BrokenPipeError | None = None

    def show(self, shell: Channel, data: bytes) -> None:
        """Print what `shell` says; in the hub's thread, where nobody could catch an error."""
        if self._left:
            return
        try:
            _print(data)
        except BrokenPipeError as error:
            self._left = error
            shell.close()

    def look(self) -> None:
        """Raise BrokenPipeError if the reader has left."""
        if self._left:
            raise self._left


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
        self._sizes: dict[int, os.terminal_size] = {}
        self._shown = -1
        self._screen = _Screen()

    def follow(self) -> int:
        shell = self._show(self._nest.top.number)
        while not shell.over:
            self._nest.machine.hub.look()
            self._fit()
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
        self._screen.look()
        return shell.exit.status if shell.exit else 1

    def _show(self, number: int) -> Channel:
        """Go to level `number`, into the shell that was left there."""
        self._shown = number
        _print(f"\r\n[L{number}; {HELP}]\r\n".encode())
        if number not in self._shells or self._shells[number].over:
            size = shutil.get_terminal_size()
            term = os.environ.get("TERM", "dumb")
            shell = self._nest.levels[number].agent.shell(size.lines, size.columns, term=term)
            self._sizes[number] = size
            shell.attach(lambda data: self._heard(number, shell, data), lambda _reason: None)
            self._shells[number] = shell
        else:
            self._shells[number].write(b"\n")
        return self._shells[number]

    def _fit(self) -> None:
        """Give the shell that is shown our terminal's size, which may change at any time."""
        size = shutil.get_terminal_size()
        if size != self._sizes[self._shown]:
            self._sizes[self._shown] = size
            self._shells[self._shown].resize(size.lines, size.columns)

    def _heard(self, number: int, shell: Channel, data: bytes) -> None:
        if number == self._shown:
            self._screen.show(shell, data)
