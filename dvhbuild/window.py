# SPDX-License-Identifier: GPL-2.0-or-later
"""Windows of L0's counters and trace, and of L1's counters: `kvmwindow serve` (guest/tools) at these levels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

from dvhbuild import counters
from dvhbuild.agent import Agent
from dvhbuild.console import Stream
from dvhbuild.counters import Snapshot
from dvhbuild.nest import Nest

TRACE_FILE = "/run/trace"

SECONDS = 120.0
"""Within which a window is opened or closed."""


@dataclass(frozen=True)
class _Server:
    """A level's kvmwindow, and the process of the guest that it is asked about."""

    stream: Stream
    pid: int

    def snapshot(self, command: str, more: str = "") -> Snapshot:
        self.stream.send(f"{command} {self.pid} {more}\n")
        match = self.stream.expect(r"kvmwindow 1 .*?\ndone \d+\n", SECONDS, f"kvmwindow {command}")
        return counters.parse(match.text)

    def release(self) -> None:
        self.stream.send("release\n")
        self.stream.expect(r"kvmwindow 1 release\n", SECONDS, "kvmwindow release")


@dataclass(frozen=True)
class Windows:
    """Opens and closes windows, one after the other; made by `open_windows`."""

    _agent: Agent
    _l0: _Server
    _l1: _Server | None

    @contextmanager
    def held(self) -> Iterator[Snapshot | None]:
        """Hold the guest of L1 still while the body runs, and see what L1's KVM has counted so far: even a guest that
        is halted is entered whenever L1 has been interrupted. None if L1 was not to be asked.
        """
        if not self._l1:
            yield None
            return
        yield self._l1.snapshot("hold")
        self._l1.release()

    def begin(self, kib: int) -> Snapshot:
        """Open a window, with `kib` KiB of trace for each CPU; returns what L0's KVM has counted so far."""
        return self._l0.snapshot("begin", str(kib))

    def end(self) -> Snapshot:
        """Close it."""
        return self._l0.snapshot("end", TRACE_FILE)

    def trace(self) -> bytes:
        """What was traced in the last window (guest/tools/cut.c)."""
        return self._agent.fetch(f"cat {TRACE_FILE}")


@contextmanager
def open_windows(nest: Nest, *, with_l1: bool) -> Iterator[Windows]:
    """Windows of L1's VM for as long as the body runs, and `with_l1` of L2's in L1.

    Raises GuestError if kvmwindow cannot do its work, VerdictError if a snapshot is damaged.
    """
    with _serve(nest, 0) as l0, _serve(nest, 1) if with_l1 else nullcontext() as l1:
        yield Windows(nest.levels[0].agent, l0, l1)


@contextmanager
def _serve(nest: Nest, level: int) -> Iterator[_Server]:
    channel = nest.levels[level].agent.start("exec kvmwindow serve", with_input=True)
    try:
        yield _Server(Stream.of(nest.machine.hub, channel, level=level), nest.pid(level + 1))
    finally:
        channel.close()
