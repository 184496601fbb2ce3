# SPDX-License-Identifier: GPL-2.0-or-later
"""Plots: how instructions are distributed, a strip for each row; and bars, each group on a scale of its own."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from dvhbuild.report.scale import Decades
from dvhbuild.report.svg import FONT, element, image, titled
from dvhbuild.result import Idle, Row, Task

WIDTH = 680
LEFT = 250
VALUE = 90
"""Pixels for what is to the left of the axis, and for the value in it."""

RIGHT = 16
LINE = 18
GROUP = 8
"""Pixels between groups."""

RADIUS = 5.5
"""Of the mark for a value that all operations have."""


@dataclass(frozen=True)
class Strip:
    """Where values lie: `marks` are values and their share of all, the rest their order statistics."""

    group: str
    config: str
    marks: tuple[tuple[float, float], ...]
    median: float
    high: float
    most: float

    @property
    def words(self) -> str:
        return f"{self.group}, {self.config}: median {self.median:,.0f}, at most {self.most:,.0f}"


@dataclass(frozen=True)
class Bar:
    """One value of a group."""

    group: str
    config: str
    value: float

    @property
    def shown(self) -> str:
        return f"{self.value:,.0f}" if self.value == int(self.value) or self.value >= 100 else f"{self.value:,.1f}"

    @property
    def words(self) -> str:
        return f"{self.group}, {self.config}: {self.shown}"


def strips_of_rows(rows: Iterable[Row]) -> tuple[Strip, ...]:
    """Instructions of each operation; `high` is what 99 % of them do not exceed."""
    return tuple(
        Strip(
            group=row.operation,
            config=f"{row.config}, L{row.level}",
            marks=tuple((value, count / row.ops) for value, count in row.distribution if row.ops),
            median=row.instructions_p50,
            high=row.instructions_p99,
            most=row.instructions_max,
        )
        for row in rows
    )


def strips_of_tasks(tasks: Iterable[Task]) -> tuple[Strip, ...]:
    """Instructions until a task of L1 runs, of the tasks that tell it."""
    return tuple(
        Strip(task.operation, task.config, (), task.instructions_p50, task.instructions_p50, task.instructions_max)
        for task in tasks
        if task.instructions_max
    )


def bars_of_tasks(tasks: Iterable[Task]) -> tuple[Bar, ...]:
    """What the other tasks came to: loops of the one that spins, instructions of those that do the same as L2."""
    spins = "linux-spin"
    return tuple(
        Bar(task.operation, task.config, value)
        for task in tasks
        if not task.instructions_max and (value := task.ops if task.operation == spins else task.instructions_sum)
    )


def bars_of_idle(idle: Sequence[Idle]) -> tuple[Bar, ...]:
    """What idle levels cost a second."""

    def group(name: str, values: Iterable[float]) -> Iterator[Bar]:
        for row, value in zip(idle, values, strict=True):
            yield Bar(name, f"{row.config}, L{row.level}", value / row.seconds)

    levels = sorted({level for row in idle for level in row.instructions})
    return (
        *group("exits to L0", [sum(row.exits.values()) for row in idle]),
        *group("entries of L1", [row.l1_entries for row in idle]),
        *group("wake-ups of L1", [row.l1_wakeups for row in idle]),
        *(
            bar
            for level in levels
            for bar in group(f"instructions of {level}", [row.instructions.get(level, 0) for row in idle])
        ),
    )


def strips(drawn: Sequence[Strip]) -> Markup:
    """A logarithmic axis of instructions and a strip for each of `drawn`, which are in groups."""
    axis = Decades.around((value for strip in drawn for value in (strip.median, strip.most)), WIDTH - LEFT - RIGHT)
    parts: list[Markup] = []
    y, last = 4.0, ""
    for strip in drawn:
        y += GROUP if last and strip.group != last else 0
        parts += _names(strip.group if strip.group != last else "", strip.config, f"{strip.median:,.0f}", y)
        parts.append(_strip(strip, axis, y + LINE / 2))
        y, last = y + LINE, strip.group
    grid = [part for value in axis.marks() for part in _decade(value, axis, y + 4)]
    return image(WIDTH, y + 22, _words(drawn), *grid, *parts)


def _words(drawn: Iterable[Strip | Bar]) -> str:
    """All of a plot in words."""
    return "; ".join(each.words for each in drawn)


def _names(group: str, config: str, value: str, y: float) -> Iterator[Markup]:
    base = y + LINE / 2 + 4
    if group:
        yield element("text", group, x=0, y=base, class_="name")
    yield element("text", config, x=LEFT - VALUE - 6, y=base, text_anchor="end", class_="config")
    yield element("text", value, x=LEFT - 10, y=base, text_anchor="end", class_="value")


def _decade(value: int, axis: Decades, y: float) -> Iterator[Markup]:
    x = LEFT + axis.place(value)
    yield element("line", x1=x, x2=x, y1=0, y2=y, class_="grid")
    yield element("text", f"{value:,}", x=x, y=y + FONT + 1, text_anchor="middle", class_="time")


def _strip(strip: Strip, axis: Decades, y: float) -> Markup:
    median, high, most = (LEFT + axis.place(value) for value in (strip.median, strip.high, strip.most))
    marks = [
        element("circle", cx=LEFT + axis.place(value), cy=y, r=max(RADIUS * math.sqrt(share), 1))
        for value, share in strip.marks
    ]
    return titled(
        strip.words,
        element("line", x1=median, x2=most, y1=y, y2=y, class_="whisker"),
        element("line", x1=most, x2=most, y1=y - 4, y2=y + 4, class_="whisker"),
        element("line", x1=median, x2=high, y1=y, y2=y, class_="most"),
        *marks,
        element("line", x1=median, x2=median, y1=y - 6, y2=y + 6, class_="median"),
        class_=_class(strip.config),
    )


def bars(drawn: Sequence[Bar]) -> Markup:
    """A bar for each of `drawn`: the longest of each group takes all the width."""
    parts: list[Markup] = []
    y, last = 4.0, ""
    for bar in drawn:
        longest = max(each.value for each in drawn if each.group == bar.group)
        y += GROUP if last and bar.group != last else 0
        parts += _names(bar.group if bar.group != last else "", bar.config, bar.shown, y)
        width = (WIDTH - LEFT - RIGHT) * bar.value / longest if longest else 0
        parts.append(
            titled(
                bar.words,
                element("rect", x=LEFT, y=y + 4, width=width, height=LINE - 8),
                class_=_class(bar.config),
            )
        )
        y, last = y + LINE, bar.group
    base = element("line", x1=LEFT, x2=LEFT, y1=0, y2=y + 4, class_="grid")
    return image(WIDTH, y + 8, _words(drawn), base, *parts)


def _class(config: str) -> str:
    return f"mark {config.partition(',')[0]}"
