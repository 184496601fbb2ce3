# SPDX-License-Identifier: GPL-2.0-or-later
"""A VM's timeline, cut at the probe's markers: what each operation made L0 do, and what happened beside it.

An *episode* runs from an exit of the operating level to that level's next entry on the same vCPU, with all that L1
does in between, and is named by its exit's reason. An episode, or an interruption of L1 inside one, that an experiment
did not declare its own is *foreign*: counted by name beside the operation, never in its figures, never dropped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from dvhbuild.trace.levels import Step, Timeline
from dvhbuild.trace.reasons import INTERRUPTIONS, Port, both, name, port_of
from dvhbuild.trace.records import Event, Kind, TraceError

ANY = "*"


@dataclass(frozen=True)
class Markers:
    """The exits by which a guest brackets each operation (guest/probe/probe.h): an access of a port, or a reason.

    If `begin` and `end` are the same, they alternate; if there is a `window`, they count only between these accesses.
    `word` is the guest's for all that.
    """

    word: str
    begin: Port | str
    end: Port | str
    window: tuple[Port, Port] | None = None


PORTS = Markers("mark", begin=Port(0x4D1, 1), end=Port(0x4D0, 1))
"""ELCR2 and ELCR1 of the PC's interrupt controllers, which KVM serves in the kernel: that of the level below."""

MSR = Markers("mark=msr", begin="MSR_READ", end="MSR_READ", window=(Port(0xA1, 1), Port(0x21, 1)))
"""RDMSR of IA32_SYSENTER_CS by a nested guest, which L0's KVM on VMX intercepts and serves, whatever L1 says."""


@dataclass(frozen=True)
class Own:
    """The episodes that belong to an operation, on the vCPU that performs it and on the others; "*" is all of them.

    A name is the reason of the operating level's exit, in Intel's terms ("MSR_WRITE"), "L1:REASON" for an interruption
    of L1 inside an own episode ("L1:EXTERNAL_INTERRUPT"), or "L1" for what L1 does on a vCPU that did not run the
    operating level in the window before.
    """

    actor: frozenset[str]
    others: frozenset[str] = frozenset()

    @cached_property
    def _names(self) -> Mapping[bool, frozenset[str]]:
        return {True: both(self.actor), False: both(self.others)}

    def has(self, episode: str, *, acting: bool) -> bool:
        names = self._names[acting]
        return episode in names or (ANY in names and not episode.startswith("L1:"))


@dataclass(frozen=True)
class Operation:
    """One operation; all figures but `foreign` are its own alone.

    `begin` and `end` are ticks of L0's TSC: the entry after the begin marker, the exit of the end marker; `window` has
    the indices of these two in the timeline. `exits` counts exits to L0 by (vCPU, level left, reason), `entries`
    entries by level, `foreign` exits of what is not its own by "[cpuN/]EPISODE". `tokens` is the sequence: the acting
    vCPU's, then the others' with "cpuN/" before each; what is foreign has "!" before it.
    """

    vcpu: int
    level: int
    begin: int
    end: int
    window: tuple[int, int]
    exits: Mapping[tuple[int, int, str], int]
    entries: Mapping[int, int]
    foreign: Mapping[str, int]
    tokens: tuple[str, ...]
    events: int
    foreign_events: int

    @property
    def ticks(self) -> int:
        """Instructions on the emulated machine; one marker's entry and exit are among them."""
        return self.end - self.begin

    @property
    def l0_exits(self) -> int:
        return sum(self.exits.values())

    @property
    def l1_entries(self) -> int:
        """Entries of the guest hypervisor. An operation of L1 itself has none: its own resumption is not one."""
        return sum(count for level, count in self.entries.items() if level < self.level)


@dataclass(frozen=True)
class Cut:
    """All operations of a timeline: `own` + `foreign` + `outside` are all its events. `outside_exits` is by token."""

    operations: tuple[Operation, ...]
    own: int
    foreign: int
    outside: int
    outside_exits: Mapping[str, int]


class Named(NamedTuple):
    """A step and the episode that it is part of, and the interruption inside that, if any."""

    step: Step
    episode: str
    interruption: str | None = None

    def is_own(self, own: Own, actor: int) -> bool:
        acting = self.step.vcpu == actor
        if not own.has(self.episode, acting=acting):
            return False
        return self.interruption is None or own.has(self.interruption, acting=acting)

    def token(self) -> str | None:
        if self.step.event.kind is Kind.EXIT:
            return f"L{self.step.level}:{name(self.step.event)}"
        return f">L{self.step.level}" if self.step.event.kind is Kind.ENTRY else None


@dataclass
class _Vcpu:
    episode: str | None = None
    interruption: str | None = None


def name_episodes(steps: Iterable[Step], level: int) -> list[Named]:
    """Name the episode of every step; what L1 does before its vCPU first ran the operating level is "L1"."""
    vcpus: dict[int, _Vcpu] = {}
    named = []
    for step in steps:
        state = vcpus.setdefault(step.vcpu, _Vcpu())
        kind = step.event.kind
        if kind is Kind.EXIT:
            reason = name(step.event)
            if step.level >= level:
                state.episode = reason
            elif reason in INTERRUPTIONS:
                state.interruption = f"L{step.level}:{reason}"
        named.append(Named(step, state.episode or "L1", state.interruption))
        if kind is Kind.ENTRY:
            state.interruption = None
    return named


def _is(event: Event, marker: Port | str) -> bool:
    return port_of(event) == marker if isinstance(marker, Port) else name(event) == marker


def _within(named: list[Named], level: int, markers: Markers) -> Iterator[tuple[int, Step]]:
    """The entries and exits of `level`, with their indices, of the exits only those where markers count."""
    counts = markers.window is None
    for index, step in enumerate(each.step for each in named):
        if step.level != level:
            continue
        if step.event.kind is Kind.EXIT:
            if markers.window and (port := port_of(step.event)) in markers.window:
                counts = port == markers.window[0]
            if counts:
                yield index, step
        elif step.event.kind is Kind.ENTRY:
            yield index, step


def _windows(named: list[Named], level: int, markers: Markers) -> list[tuple[int, int]]:
    """Find (index of the entry after the begin marker, index of the end marker's exit) for each operation."""
    windows: list[tuple[int, int]] = []
    marked: int | None = None  # the vCPU whose begin marker was seen
    entered: int | None = None
    for index, step in _within(named, level, markers):
        event = step.event
        if event.kind is Kind.ENTRY:
            if step.vcpu == marked and entered is None:
                entered = index
            continue
        begins, ends = _is(event, markers.begin), _is(event, markers.end)
        if begins and not (ends and marked is not None):
            if marked is not None:
                raise TraceError(f"operation {len(windows)}: a second begin marker at tsc {event.tsc}, no end marker")
            marked = step.vcpu
        elif ends:
            if marked != step.vcpu or entered is None:
                raise TraceError(f"operation {len(windows)}: an end marker at tsc {event.tsc}, no begin marker")
            windows.append((entered, index))
            marked = entered = None
    if marked is not None:
        raise TraceError(f"operation {len(windows)}: the trace ends before its end marker")
    return windows


@dataclass
class _Tally:
    exits: Counter[tuple[int, int, str]] = field(default_factory=Counter)
    entries: Counter[int] = field(default_factory=Counter)
    foreign: Counter[str] = field(default_factory=Counter)
    tokens: dict[int, list[str]] = field(default_factory=dict)
    events: int = 0
    foreign_events: int = 0

    def add(self, each: Named, own: Own, actor: int) -> None:
        mine = each.is_own(own, actor)
        where = "" if each.step.vcpu == actor else f"cpu{each.step.vcpu}/"
        token = each.token()
        if token:
            self.tokens.setdefault(each.step.vcpu, []).append(f"{where}{'' if mine else '!'}{token}")
        if not mine:
            self.foreign_events += 1
            if each.step.event.kind is Kind.EXIT:
                self.foreign[f"{where}{each.interruption or each.episode}"] += 1
            return
        self.events += 1
        if each.step.event.kind is Kind.EXIT:
            self.exits[each.step.vcpu, each.step.level, name(each.step.event)] += 1
        elif each.step.event.kind is Kind.ENTRY:
            self.entries[each.step.level] += 1


def _operation(named: list[Named], window: tuple[int, int], level: int, own: Own) -> Operation:
    first, last = window
    actor = named[first].step.vcpu
    tally = _Tally()
    for each in named[first + 1 : last]:
        tally.add(each, own, actor)
    order = sorted(tally.tokens, key=lambda vcpu: (vcpu != actor, vcpu))
    return Operation(
        vcpu=actor,
        level=level,
        begin=named[first].step.event.tsc,
        end=named[last].step.event.tsc,
        window=window,
        exits=dict(tally.exits),
        entries=dict(tally.entries),
        foreign=dict(tally.foreign),
        tokens=tuple(token for vcpu in order for token in tally.tokens[vcpu]),
        events=tally.events,
        foreign_events=tally.foreign_events,
    )


def cut(timeline: Timeline, *, level: int, own: Own, markers: Markers = PORTS) -> Cut:
    """Cut `timeline` into the operations that `level` performed.

    Raises TraceError if a marker lacks its partner, if a reason is unknown, or if the counts do not add up.
    """
    named = name_episodes(timeline.steps, level)
    windows = _windows(named, level, markers)
    operations = tuple(_operation(named, window, level, own) for window in windows)
    inside = {index for first, last in windows for index in range(first + 1, last)}
    outside = [each for index, each in enumerate(named) if index not in inside]
    exits = Counter(each.token() for each in outside if each.step.event.kind is Kind.EXIT)
    result = Cut(
        operations=operations,
        own=sum(operation.events for operation in operations),
        foreign=sum(operation.foreign_events for operation in operations),
        outside=len(outside),
        outside_exits={str(token): count for token, count in exits.items()},
    )
    if result.own + result.foreign + result.outside != len(timeline.steps):
        raise TraceError(
            f"{result.own} own + {result.foreign} foreign + {result.outside} outside events, "
            f"but {len(timeline.steps)} in the trace"
        )
    return result
