# SPDX-License-Identifier: GPL-2.0-or-later
"""One operation out of many, as it happened: what a picture needs that shows which level ran when, on each vCPU."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import ConfigDict

from dvhbuild.trace.levels import Step, Timeline
from dvhbuild.trace.operations import Cut, Named, Operation, Own, name_episodes
from dvhbuild.trace.reasons import name
from dvhbuild.trace.records import Kind

_CONFIG = ConfigDict(extra="forbid", use_attribute_docstrings=True)  # they are in files: see `dvhbuild.result`


Part = Literal["own", "foreign", "outside"]


@dataclass(frozen=True)
class Crossing:
    """An exit to L0, or an entry of a level above it."""

    __pydantic_config__: ClassVar[ConfigDict] = _CONFIG

    ticks: int
    """Ticks of L0's TSC, instructions on the emulated machine, since the begin of the operation."""
    vcpu: int
    """Where."""
    kind: Literal["exit", "entry"]
    """What."""
    level: int
    """The level that an exit leaves, an entry enters."""
    reason: str | None
    """The reason of an exit."""
    part: Part
    """Whether it is the operation's own. Outside is what was before the operation, and the exit of its end marker."""
    halted: bool = False
    """Of an exit for HLT: whether the vCPU then sleeps in L0."""


@dataclass(frozen=True)
class Picture:
    """One operation: of those that were the most frequent sequence, the one of median length."""

    __pydantic_config__: ClassVar[ConfigDict] = _CONFIG

    vcpu: int
    """The vCPU that performs it."""
    vcpus: tuple[int, ...]
    """All vCPUs that it is about, that one first."""
    ticks: int
    """How long it took from its first entry to its end marker's exit: with tracing on, longer than without."""
    crossings: tuple[Crossing, ...]
    """In the order of time. Of each vCPU, the last one before the operation is the first here, if there is one: it
    tells what ran there when the operation began."""


def picture(timeline: Timeline, cut: Cut, own: Own) -> Picture:
    """Take one operation out of `cut`, which is `timeline`'s; there is at least one (see `summarize`)."""
    operation = _typical(cut.operations)
    first, last = operation.window
    named = name_episodes(timeline.steps[: last + 1], operation.level)
    inside = [each for each in named[first + 1 : last] if _crosses(each.step)]
    vcpus = {each.step.vcpu for each in inside} | (set(timeline.totals) if own.others else set())
    return Picture(
        vcpu=operation.vcpu,
        vcpus=(operation.vcpu, *sorted(vcpus - {operation.vcpu})),
        ticks=operation.ticks,
        crossings=tuple(_crossings(timeline.steps, named, operation, own, vcpus | {operation.vcpu})),
    )


def _typical(operations: Sequence[Operation]) -> Operation:
    """The median of the most frequent sequence: the lower one of two, the first one of several as long."""
    frequent = Counter(operation.tokens for operation in operations).most_common(1)[0][0]
    alike = [operation for operation in operations if operation.tokens == frequent]
    return sorted(alike, key=lambda operation: operation.ticks)[(len(alike) - 1) // 2]


def _crosses(step: Step) -> bool:
    return step.event.kind in (Kind.EXIT, Kind.ENTRY)


def _crossings(
    steps: Sequence[Step], named: Sequence[Named], operation: Operation, own: Own, vcpus: set[int]
) -> Iterator[Crossing]:
    """The last crossing of each of `vcpus` before the operation, then all of theirs in it, then its end marker's."""
    first, last = operation.window
    here = [index for index in range(last + 1) if _crosses(named[index].step) and named[index].step.vcpu in vcpus]
    before = {named[index].step.vcpu: index for index in here if index <= first}
    for index in (*sorted(before.values()), *(index for index in here if index > first)):
        step = named[index].step
        exits = step.event.kind is Kind.EXIT
        part: Part = "own" if named[index].is_own(own, operation.vcpu) else "foreign"
        yield Crossing(
            ticks=step.event.tsc - operation.begin,
            vcpu=step.vcpu,
            kind="exit" if exits else "entry",
            level=step.level,
            reason=name(step.event) if exits else None,
            part=part if first < index < last else "outside",
            halted=exits and _sleeps(steps, index),
        )


def _sleeps(steps: Sequence[Step], index: int) -> bool:
    """Whether the exit at `index` is a HLT that L0 emulates: L1 is not to see it (as `levels` has it)."""
    step = steps[index]
    if name(step.event) != "HLT":
        return False
    for later in steps[index + 1 :]:
        if later.vcpu == step.vcpu and later.event.kind in (Kind.ENTRY, Kind.INJECT):
            return later.event.kind is Kind.ENTRY or later.event.reason != step.event.reason
    return True
