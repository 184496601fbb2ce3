# SPDX-License-Identifier: GPL-2.0-or-later
"""The probe as a guest: started at a level, told what to perform, and heard out. Its other half is guest/probe."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from dvhbuild import guests
from dvhbuild.agent import Agent
from dvhbuild.channel import Channel
from dvhbuild.console import Log, Stream
from dvhbuild.errors import GuestError
from dvhbuild.nest import Nest, watch_guest

START_SECONDS = 120.0
RUN_SECONDS = 300.0

_RESULT = re.compile(r"probe: result op=(\S+)((?: \w+=\d+)+)")
_HISTOGRAM = re.compile(r"probe: hist op=\S+((?: \d+:\d+)*)")


@dataclass(frozen=True)
class Outcome:
    """What one run of an operation came to; `p50` and so on are ticks of the TSC per operation, 0 if all were lost.

    `distribution` holds the most frequent ticks and how many operations took as many, the most frequent first.
    """

    operation: str
    ops: int
    lost: int
    early: int
    wrong: int
    p50: int
    p90: int
    p99: int
    max: int
    sum: int
    distribution: tuple[tuple[int, int], ...] = field(default=(), kw_only=True)

    @property
    def mean(self) -> float:
        return self.sum / self.ops if self.ops else 0.0


def parse(said: str) -> Outcome:
    """Read a result line, and a histogram's if there is one with it; raises ValueError if there is no result."""
    match = _RESULT.search(said)
    if not match:
        raise ValueError(f"not a result of the probe: {said!r}")
    values = {key: int(value) for key, value in (word.split("=") for word in match[2].split())}
    fields = ("ops", "lost", "early", "wrong", "p50", "p90", "p99", "max", "sum")
    histogram = _HISTOGRAM.search(said)
    pairs = (word.split(":") for word in histogram[1].split()) if histogram else ()
    distribution = tuple((int(ticks), int(count)) for ticks, count in pairs)
    return Outcome(match[1], *(values.get(name, 0) for name in fields), distribution=distribution)


@dataclass
class Probe:
    """A probe that waits for commands, as guest `level`; `below` is the agent of the hypervisor that it runs on."""

    level: int
    below: Agent
    _line: Channel
    _heard: Stream

    def run(self, operation: str, count: int, *options: str) -> Outcome:
        """Perform `operation` `count` times; raises GuestError if the probe cannot, or if a check of it fails."""
        self.begin(operation, count, *options)
        return self.outcome(operation)

    def begin(self, operation: str, count: int, *options: str) -> None:
        """Tell the probe what to perform."""
        self._line.write(f"run {' '.join((operation, str(count), *options))}\n".encode())

    def outcome(self, operation: str) -> Outcome:
        """Wait for the end of what was begun; raises what `run` does."""
        done = rf"probe: done op={operation}\n"
        match = self._heard.expect([done, r"probe: error [^\n]*\n"], RUN_SECONDS, f"{operation}: the probe's answer")
        said = [line for line in (match.before + match.text).splitlines() if line.startswith("probe:")]
        failures = [line for line in said if line.startswith(("probe: FAIL", "probe: error"))]
        if failures:
            raise GuestError(f"L{self.level}: {failures[0]}", level=self.level, tail=tuple(said))
        try:
            return parse("\n".join(said))
        except ValueError as error:
            message = f"L{self.level}: the probe gave no result for {operation}"
            raise GuestError(message, level=self.level, tail=tuple(said)) from error


@contextmanager
def start(nest: Nest, level: int) -> Iterator[Probe]:
    """Run the probe as guest `level`, with that level's vCPUs, for as long as the body runs."""
    below, hub, sockets = nest.levels[level - 1].agent, nest.machine.hub, guests.Sockets(level)
    nest.prepare(level)
    qemu = below.start(guests.probe(level, nest.stack.levels[level]), label=f"l{level}")
    watch_guest(hub, below, qemu, level)
    line = below.connect(sockets.log, timeout=START_SECONDS)
    log = Log(hub, line, nest.machine.directory / f"l{level}.log", level=level)
    heard = log.stream()
    heard.expect(r"probe: ready [^\n]*\n", START_SECONDS, "the probe's first word")
    below.check(guests.pin(level, nest.stack.levels[level - 1].cpus))
    yield Probe(level, below, line, heard)
