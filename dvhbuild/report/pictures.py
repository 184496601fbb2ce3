# SPDX-License-Identifier: GPL-2.0-or-later
"""One operation as a picture: lanes for the levels of each vCPU, arrows for exits and entries, time in instructions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from dvhbuild.report.scale import Axis, Gap, Spell, step_of
from dvhbuild.report.svg import FONT, element, image, titled, width_of
from dvhbuild.trace import Crossing, Picture

WIDTH = 920
"""Pixels of a picture, unless its operation needs more."""

LEFT, RIGHT, TOP = 76, 56, 8
LANE, BAR = 22, 10
"""Heights of a lane, and of the bar in it that shows that its level runs."""

LABEL = 14
"""Height of a line of reasons."""

SCALE = 0.01
"""Pixels for an instruction at least: two exits in a row are some 1,000 instructions apart."""


@dataclass(frozen=True)
class Run:
    """What one vCPU does for a while: a level runs there, 0 is L0, in which the vCPU may be asleep."""

    level: int
    begin: int
    end: int
    asleep: bool = False


def outside(picture: Picture) -> tuple[tuple[Crossing, ...], tuple[Crossing, ...]]:
    """The crossings of `picture` before its operation, and those in it: the end marker's is in neither."""
    before = tuple(each for each in picture.crossings[:-1] if each.part == "outside")
    return before, tuple(each for each in picture.crossings if each.part != "outside")


def runs(picture: Picture, vcpu: int) -> Iterator[Run]:
    """What `vcpu` does from the begin of the operation to its end, without a gap."""
    before, inside = outside(picture)
    first = next((each for each in before if each.vcpu == vcpu), None)
    begin, state = 0, _state(first)
    for each in (each for each in inside if each.vcpu == vcpu):
        yield Run(state[0], begin, each.ticks, state[1])
        begin, state = each.ticks, _state(each)
    yield Run(state[0], begin, picture.ticks, state[1])


def _state(crossing: Crossing | None) -> tuple[int, bool]:
    """The level that runs after `crossing`, and whether the vCPU sleeps."""
    if crossing is None:
        return 0, False
    return (crossing.level, False) if crossing.kind == "entry" else (0, crossing.halted)


def told(picture: Picture) -> Iterator[tuple[int | None, str, str]]:
    """The picture in words: (instructions since the begin, vCPU, what happens), None for what was before."""
    before, inside = outside(picture)
    for vcpu in picture.vcpus:
        first = next((each for each in before if each.vcpu == vcpu), None)
        level, asleep = _state(first)
        since = f", since L{first.level}'s {first.reason}" if first and first.kind == "exit" else ""
        yield None, f"vCPU {vcpu}", (f"asleep in L0{since}" if asleep else f"L{level} runs{since}")
    for each in inside:
        yield each.ticks, f"vCPU {each.vcpu}", _words(each)
    yield picture.ticks, f"vCPU {picture.vcpu}", "the operation ends"


def _words(crossing: Crossing) -> str:
    what = f"L{crossing.level} exits: {crossing.reason}" if crossing.kind == "exit" else f"L0 enters L{crossing.level}"
    what += ", and the vCPU sleeps" if crossing.halted else ""
    return what if crossing.part == "own" else f"{what} (not the operation's own)"


def axis_of(picture: Picture) -> Axis:
    """Time as it is shown: while no vCPU is in L0 or in L1 for anything but to sleep, all wait."""
    times = sorted({0, picture.ticks, *(each.ticks for each in outside(picture)[1])})
    performing = top_level(picture)
    busy = [run for vcpu in picture.vcpus for run in runs(picture, vcpu) if run.level < performing and not run.asleep]
    return Axis.of(
        Spell(begin, end, waiting=not any(run.begin < end and begin < run.end for run in busy))
        for begin, end in pairwise(times)
    )


def top_level(picture: Picture) -> int:
    """The level that performs the operation: no higher one runs meanwhile."""
    return max(each.level for each in picture.crossings)


def draw(picture: Picture, text: str, together: Iterable[Picture] = ()) -> Markup:
    """Draw `picture`, on the same scale as those that it is shown `together` with; `text` says what it shows."""
    longest = max(axis_of(each).length for each in (picture, *together))
    scale = max((WIDTH - LEFT - RIGHT) / longest, SCALE)
    return _Drawing(picture, scale).image(text)


class _Drawing:
    """Places the parts of one picture; y grows from one vCPU to the next."""

    def __init__(self, picture: Picture, scale: float) -> None:
        self.picture = picture
        self.axis = axis_of(picture)
        self.scale = scale
        self.inside = outside(picture)[1]
        self.top_level = top_level(picture)

    def x(self, time: int) -> float:
        return LEFT + self.scale * self.axis.place(time)

    def image(self, text: str) -> Markup:
        bars: list[Markup] = []
        events: list[Markup] = []
        y: float = TOP
        for vcpu in self.picture.vcpus:
            middle = {level: y + LANE * (self.top_level - level) + LANE / 2 for level in range(self.top_level + 1)}
            crossings = [each for each in self.inside if each.vcpu == vcpu]
            bars += self.lanes(vcpu, middle)
            labels, y = self.labels(crossings, middle[0] + BAR / 2)
            events += [*labels, *(self.arrow(each, middle) for each in crossings)]
            y += 10
        gaps = [self.gap(gap, y) for gap in self.axis.gaps]
        written = max((self.x(each.ticks) + width_of(_label(each)) for each in self.inside), default=0)
        width = max(WIDTH, self.x(self.picture.ticks) + RIGHT, written + 8)
        return image(width, y + (2 if gaps else 1) * LABEL + 6, text, *self.time(y), *bars, *gaps, *events)

    def lanes(self, vcpu: int, middle: Mapping[int, float]) -> Iterator[Markup]:
        """One vCPU's lanes, the middles of which are given by level, and what runs in them."""
        yield element("text", f"vCPU {vcpu}", x=0, y=middle[self.top_level] + 4, class_="vcpu")
        for level, at in middle.items():
            yield element("text", f"L{level}", x=LEFT - 10, y=at + 4, text_anchor="end")
            yield element("line", x1=LEFT, x2=self.x(self.picture.ticks), y1=at, y2=at, class_="lane")
        for run in runs(self.picture, vcpu):
            yield self.bar(run, middle[run.level])

    def bar(self, run: Run, at: float) -> Markup:
        begin, end = self.x(run.begin), self.x(run.end)
        doing = "the vCPU sleeps" if run.asleep else f"L{run.level} runs"
        return titled(
            f"{run.begin:,} to {run.end:,}, for {run.end - run.begin:,}: {doing}",
            element("rect", x=begin, y=at - BAR / 2, width=end - begin, height=BAR),
            class_="asleep" if run.asleep else f"run l{run.level}",
        )

    def arrow(self, crossing: Crossing, middle: Mapping[int, float]) -> Markup:
        """From the bar of the level that is left to the one that is entered; the head is at that one's edge."""
        x, exits = self.x(crossing.ticks), crossing.kind == "exit"
        guest, host = middle[crossing.level] + BAR / 2, middle[0] - BAR / 2
        tip, back = (host, -5) if exits else (guest, 5)
        return titled(
            f"{crossing.ticks:,}: {_words(crossing)}",
            element("line", x1=x, x2=x, y1=guest, y2=host),
            element("path", d=f"M{x:.1f} {tip:.1f}l-3.5 {back}h7z"),
            element("rect", x=x - 5, y=guest, width=10, height=host - guest, class_="touch"),
            class_=f"{crossing.kind} {crossing.part}",
        )

    def labels(self, crossings: Sequence[Crossing], y: float) -> tuple[list[Markup], float]:
        """The reasons of exits below the lanes, in as many lines as keep them apart, and where these end."""
        parts: list[Markup] = []
        ends: list[float] = []
        for each in (each for each in crossings if each.kind == "exit"):
            x, text = self.x(each.ticks), _label(each)
            line = next((number for number, end in enumerate(ends) if end < x), len(ends))
            ends[line : line + 1] = [x + width_of(text) + 6]
            base = y + LABEL * (line + 1)
            parts.append(element("line", x1=x, x2=x, y1=y, y2=base, class_="leader"))
            parts.append(element("text", text, x=x + 3, y=base, class_=f"reason {each.part}"))
        return parts, y + LABEL * len(ends)

    def time(self, y: float) -> Iterator[Markup]:
        """The axis: lines through all lanes, numbers at the bottom, the operation's end in bold."""
        end = self.x(self.picture.ticks)
        for time in self.axis.marks(step_of(self.axis.length, max(int((end - LEFT) / 75), 1))):
            x = self.x(time)
            yield element("line", x1=x, x2=x, y1=TOP, y2=y, class_="grid")
            if end - x > width_of(f"{time:,}{self.picture.ticks:,}") / 2 + 6:
                yield element("text", f"{time:,}", x=x, y=y + FONT + 2, text_anchor="middle", class_="time")
        yield element("line", x1=end, x2=end, y1=TOP, y2=y, class_="end")
        yield element("text", f"{self.picture.ticks:,}", x=end, y=y + FONT + 2, text_anchor="middle", class_="end")

    def gap(self, gap: Gap, y: float) -> Markup:
        """A cut through all lanes where time is not shown."""
        x, length = self.x(gap.begin), f"{gap.end - gap.begin:,} not shown"
        return titled(
            f"{gap.begin:,} to {gap.end:,}, for {gap.end - gap.begin:,}: nothing happens, not shown",
            element("rect", x=x - 4, y=TOP, width=8, height=y - TOP, class_="cut"),
            element("path", d=f"M{x - 4:.1f} {TOP}V{y:.1f}M{x + 4:.1f} {TOP}V{y:.1f}", class_="cut"),
            element("text", length, x=x, y=y + 2 * LABEL, text_anchor="middle", class_="time"),
        )


def _label(crossing: Crossing) -> str:
    return str(crossing.reason) if crossing.part == "own" else f"({crossing.reason})"
