# SPDX-License-Identifier: GPL-2.0-or-later
"""The workloads (`work`) in a guest, with their clients at L0, as parts of a result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from dvhbuild import counters, trace
from dvhbuild.errors import GuestError, UserError
from dvhbuild.nest import Nest
from dvhbuild.result import Workload
from dvhbuild.steps import step
from dvhbuild.trace import Kind, Own, Step, Timeline
from dvhbuild.work import WORKS, Work, clock

WARM_UP = 5
"""The share of its transactions that a workload performs before: one in so many."""

TRACE_KIB = 65536
"""Size of L0's trace buffer, KiB per CPU: some 800,000 events."""

RUN_SECONDS = 600.0

_RUN = "/run/workload"
_OPEN = "kvmwindow begin {pid} {kib} > {run}.begin"
_CLOSE = "kvmwindow end {pid} {run}.trace > {run}.end"
_BESIDE = """{open} && {{ {command}
    }} > {run}.said 2>&1
    status=$?; {close} && cat {run}.said; exit $status"""
"""In one go: whatever is asked of L0 between a window's end and the client's is a time in which the guest is idle."""


def perform(nest: Nest, level: int, config: str) -> Iterator[Workload]:
    """Perform each workload with `level` of `nest`: to warm up, undisturbed for its instructions, traced for its exits.

    Raises GuestError if a transaction fails or answers wrongly, VerdictError if counters and trace disagree, UserError
    if the guest has no network.
    """
    if not nest.stack.levels[level].devices:
        raise UserError(f"{nest.stack.name}: L{level} has no network for workloads", remedy="--stack virtio, or vp")
    reporter, log = nest.settings.reporter, nest.machine.directory / f"l{level}.log"
    with step(reporter, f"run workloads in L{level}", log) as current:
        guest = _Guest(nest, level)
        for work in WORKS:
            reporter.advanced(current, work.name)
            yield guest.measure(work, config)


@dataclass(frozen=True)
class _Guest:
    """A Linux that performs workloads, or serves them."""

    nest: Nest
    level: int

    @property
    def address(self) -> str:
        """On the network of vhost's device: qemu-configs/stacks/virtio.toml."""
        return f"10.0.1.{self.level + 1}"

    def measure(self, work: Work, config: str) -> Workload:
        self._serve(work)
        self._run(work, work.count // WARM_UP)
        begin, end = self._run(work, work.count)
        steps = self._traced(work)
        self._prove(work)
        exits, entries = figures(steps, self.level)
        return Workload(
            workload=work.name,
            config=config,
            level=self.level,
            transactions=work.count,
            exits=exits,
            l1_entries=entries,
            instructions=end - begin,
        )

    def _serve(self, work: Work) -> None:
        """Start the server, if there is one and nobody listens yet."""
        if work.server:
            listens = f"grep -q ':{work.port:04X} 00000000:0000 0A' /proc/net/tcp"
            self.nest.top.agent.check(
                f"{listens} || {{ {work.server}\n}} > /run/server 2>&1 || {{ cat /run/server; false; }}"
            )
            self.nest.top.agent.check(f"for n in $(seq 100); do {listens} && exit; sleep 0.1; done; exit 1")
        self._prove(work)

    def _prove(self, work: Work) -> None:
        self.nest.levels[0].agent.check(work.proof.format(address=self.address))

    def _run(self, work: Work, count: int) -> tuple[int, int]:
        """Perform it `count` times, and return when that began and ended, in ticks."""
        agent = self.nest.levels[0 if work.server else self.level].agent
        return self._told(work, count, agent.check(self._command(work, count), timeout=RUN_SECONDS))

    def _command(self, work: Work, count: int) -> str:
        return work.command.format(count=count, address=self.address)

    def _told(self, work: Work, count: int, said: str) -> tuple[int, int]:
        try:
            work.check(said, count)
            return clock(said)
        except ValueError as error:
            raise GuestError(f"L{self.level}: {error}", level=self.level, tail=tuple(said.splitlines())) from error

    def _traced(self, work: Work) -> tuple[Step, ...]:
        """Perform it in a window; return what L0 saw from the first transaction to the last."""
        l0, pid = self.nest.levels[0].agent, self.nest.pid(1)
        begin, end = (text.format(pid=pid, kib=TRACE_KIB, run=_RUN) for text in (_OPEN, _CLOSE))
        command = self._command(work, work.count)
        if work.server:
            line = _BESIDE.format(open=begin, close=end, command=command, run=_RUN)
            said = l0.check(line, timeout=RUN_SECONDS)
        else:
            l0.check(begin, timeout=RUN_SECONDS)
            said = self.nest.top.agent.check(f"DVH_MARK=1 {command}", timeout=RUN_SECONDS)
            l0.check(end, timeout=RUN_SECONDS)
        first, last = self._told(work, work.count, said)
        before, after = (counters.parse(l0.check(f"cat {_RUN}.{when}")) for when in ("begin", "end"))
        timeline = trace.locate(trace.read(l0.fetch(f"cat {_RUN}.trace", timeout=RUN_SECONDS)), counters.levels(before))
        counters.agree(before, after, timeline)
        if not work.server:
            return between_markers(timeline, self.level)
        return between(timeline.steps, first, last)


def figures(steps: Iterable[Step], level: int) -> tuple[dict[str, int], int]:
    """Exits to L0 by level and reason ("L1:HLT"), and entries of levels below `level`."""
    exits: Counter[str] = Counter()
    entries = 0
    for event, _vcpu, where in steps:
        exits.update([f"L{where}:{trace.name(event)}"] if event.kind is Kind.EXIT else [])
        entries += event.kind is Kind.ENTRY and where < level
    return dict(exits), entries


def between(steps: Iterable[Step], first: int, last: int) -> tuple[Step, ...]:
    """What happened from one tick of L0's TSC to another."""
    return tuple(step for step in steps if first <= step.event.tsc <= last)


def between_markers(timeline: Timeline, level: int) -> tuple[Step, ...]:
    """What happened between the one pair of the probe's markers that `level` set; raises GuestError without a pair."""
    operations = trace.cut(timeline, level=level, own=Own(frozenset())).operations
    if len(operations) != 1:
        raise GuestError(
            f"L{level}: {len(operations)} pairs of markers, not one: see guest/load/hackbench-clock.c", level=level
        )
    first, last = operations[0].window
    return timeline.steps[first + 1 : last]
