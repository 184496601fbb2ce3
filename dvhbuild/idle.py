# SPDX-License-Identifier: GPL-2.0-or-later
"""What an idle VM costs: its exits and entries, its wake-ups, and the instructions of each level meanwhile."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from dvhbuild import counters, trace
from dvhbuild.agent import Agent
from dvhbuild.errors import GuestError
from dvhbuild.nest import Nest
from dvhbuild.trace import Kind, Timeline

SETTLED = 70
"""Seconds after its boot that a level has nothing left to do for it. The random generator, which is reseeded after 1.5
times as long each time until that is a minute, has done so after 64 seconds, and does again after 97."""

STEP = 5
"""Seconds of sleep at a time: of a machine that is silent for longer the emulator makes little haste (IDLE_SLEEP)."""

LAST_TIMERS = 3
"""Seconds of silence before a window: the scheduler has a timer that comes a second after a task went to sleep."""

TRACE_KIB = 16384

QUIET = """
    khugepaged=/sys/kernel/mm/transparent_hugepage/khugepaged/scan_sleep_millisecs
    [ ! -e $khugepaged ] || echo 3600000 > $khugepaged
    for server in /sys/kernel/debug/sched/fair_server/cpu*/runtime; do
        [ ! -e $server ] || echo 0 > $server
    done"""
"""Two timers of a hypervisor for which there is no parameter at boot: khugepaged looks through its guest's memory every
ten seconds; the fair server, which protects ordinary tasks from real-time ones, looks after each CPU that has a task
every second, and a vCPU that is halted in the guest is one."""

_IDLE = re.compile(r"idle_sleeptime\s*: (\d+) nsecs")
_NOW = re.compile(r"now at (\d+) nsecs")
_MHZ = re.compile(r"cpu MHz\s*: ([\d.]+)")


@dataclass(frozen=True)
class Idleness:
    """What L0 saw of L1's VM in `seconds`, all vCPUs together.

    `exits` are exits to L0 by level and reason ("L1:HLT"), `entries` are entries of each level, `wakeups` are how often
    L1 got going on a vCPU that was halted or L2's, `instructions` are those that each level executed.
    """

    seconds: int
    exits: Mapping[str, int]
    entries: Mapping[int, int]
    wakeups: int
    instructions: Mapping[int, int]

    def __str__(self) -> str:
        reasons = ", ".join(f"{count} {reason}" for reason, count in Counter(self.exits).most_common()) or "none"
        executed = ", ".join(f"L{level} {count:,}" for level, count in sorted(self.instructions.items()))
        return (
            f"{self.seconds} s: L1 entered {self.entries.get(1, 0)} times, woken {self.wakeups} times; "
            f"{sum(self.exits.values())} exits: {reasons}; instructions: {executed}"
        )


def settle(nest: Nest) -> None:
    """Let all levels come to rest after their boot, and what is periodic rest as well."""
    for linux in nest.levels:
        linux.agent.check(QUIET)
    while float(nest.top.agent.check("cut -d' ' -f1 /proc/uptime")) < SETTLED:
        nest.levels[0].agent.check(f"sleep {STEP}", timeout=300)


def observe(nest: Nest, seconds: int) -> Idleness:
    """Watch L1's VM for `seconds` of L0's, in which nothing is asked of any level.

    L0's instructions are those of its time that was not idle, by its own account, less its guest's, and less what
    watching costs. The idle task's own work is not in that: by the emulator's count of instructions, all levels
    together, 11 % are missing where L0 wakes up a thousand times a second.
    Raises VerdictError if counters and trace disagree.
    """
    nothing, window = _window(nest, 0), _window(nest, seconds)
    return Idleness(
        seconds,
        window.exits,
        window.entries,
        window.wakeups,
        {**window.instructions, 0: max(window.instructions[0] - nothing.instructions[0], 0)},
    )


def _window(nest: Nest, seconds: int) -> Idleness:
    l0, pid, run = nest.levels[0].agent, nest.pid(1), "/run/idle"
    l0.check(
        f"sleep {LAST_TIMERS}; kvmwindow begin {pid} {TRACE_KIB} > {run}.begin; cat /proc/timer_list > {run}.from;"
        f"sleep {seconds}; cat /proc/timer_list > {run}.to; kvmwindow end {pid} {run}.trace > {run}.end",
        timeout=300.0 + 60 * seconds,
    )
    before, after = (counters.parse(l0.check(f"cat {run}.{end}")) for end in ("begin", "end"))
    timeline = trace.locate(trace.read(l0.fetch(f"cat {run}.trace")), counters.levels(before))
    counters.agree(before, after, timeline)
    guest = ticks(timeline)
    busy = [_busy(l0, f"{run}.{end}") for end in ("from", "to")]
    return Idleness(
        seconds,
        Counter(f"L{s.level}:{trace.name(s.event)}" for s in timeline.steps if s.event.kind is Kind.EXIT),
        Counter(s.level for s in timeline.steps if s.event.kind is Kind.ENTRY),
        wakeups(timeline),
        {0: busy[1] - busy[0] - sum(guest.values()), **guest},
    )


def _busy(l0: Agent, file: str) -> int:
    """Ticks of the TSC, instructions, that L0's CPUs have not been idle, of a copy of /proc/timer_list.

    To the nanosecond, where /proc/stat is to ten milliseconds; an interrupt's handler counts as busy in both.
    """
    said = l0.check(f"grep -e idle_sleeptime -e 'now at' {file}; grep -m1 MHz /proc/cpuinfo")
    idle, now, mhz = _IDLE.findall(said), _NOW.search(said), _MHZ.search(said)
    if not idle or not now or not mhz:
        raise GuestError("L0: /proc/timer_list has no idle times", level=0, tail=tuple(said.split("\n")))
    return int((len(idle) * int(now[1]) - sum(map(int, idle))) * float(mhz[1]) / 1000)


def ticks(timeline: Timeline) -> Counter[int]:
    """Ticks of the TSC between the entries and exits of each level: a HLT is an exit, so that they are instructions."""
    spent: Counter[int] = Counter()
    entered: dict[int, int] = {}
    for event, vcpu, level in timeline.steps:
        if event.kind is Kind.ENTRY:
            entered[vcpu] = event.tsc
        elif event.kind is Kind.EXIT:
            spent[level] += event.tsc - entered.pop(vcpu)
    return spent


def wakeups(timeline: Timeline) -> int:
    """Count how often a vCPU went on in L1 after it had been halted in L1, or had been L2's, halted or not."""
    count = 0
    asleep: dict[int, bool] = {}
    for event, vcpu, level in timeline.steps:
        if event.kind is Kind.EXIT:
            asleep[vcpu] = level > 1 or trace.name(event) == "HLT"
        elif event.kind is Kind.VMENTER:
            asleep[vcpu] = True
        elif event.kind is Kind.ENTRY and level == 1:
            count += asleep.get(vcpu, True)
    return count
