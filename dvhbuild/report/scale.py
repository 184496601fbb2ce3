# SPDX-License-Identifier: GPL-2.0-or-later
"""Axes: from instructions to pixels, in a line where long silences are cut short, or in decades."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

WAITING = 8_000
WORKING = 25_000
"""Instructions without an event that are shown as they are, while all wait for something to happen, and else. Of more,
the middle is left out: first what says little, but a picture must have an end, too."""

SHOWN = 4_000
"""What remains of these."""


@dataclass(frozen=True)
class Spell:
    """Instructions from `begin` to `end` without an event."""

    begin: int
    end: int
    waiting: bool


@dataclass(frozen=True)
class Gap:
    """Instructions from `begin` to `end` that are not shown."""

    begin: int
    end: int


@dataclass(frozen=True)
class Axis:
    """Instructions 0 to `end`, less `gaps`, which are in order and apart."""

    end: int
    gaps: tuple[Gap, ...] = ()

    @classmethod
    def of(cls, spells: Iterable[Spell]) -> Axis:
        """An axis from 0 over all `spells`, which follow each other."""
        end, gaps = 0, []
        for spell in spells:
            end = spell.end
            if spell.end - spell.begin > (WAITING if spell.waiting else WORKING):
                gaps.append(Gap(spell.begin + SHOWN // 2, spell.end - SHOWN // 2))
        return cls(end, tuple(gaps))

    @property
    def length(self) -> int:
        """Instructions that are shown."""
        return self.place(self.end)

    def place(self, time: int) -> int:
        """How many instructions are shown before `time`."""
        return time - sum(min(time, gap.end) - gap.begin for gap in self.gaps if time > gap.begin)

    def marks(self, step: int) -> Iterator[int]:
        """Multiples of `step` that are shown, the end left out."""
        for time in range(0, self.end, step):
            if not any(gap.begin <= time <= gap.end for gap in self.gaps):
                yield time


def step_of(length: float, most: int) -> int:
    """A round step, 1, 2 or 5 times a power of ten, that divides `length` into `most` parts at most."""
    least = max(length / most, 1)
    power: int = 10 ** math.floor(math.log10(least))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least)


@dataclass(frozen=True)
class Decades:
    """A logarithmic axis from `low` to `high`, both above 0, on `width` pixels."""

    low: float
    high: float
    width: float

    @classmethod
    def around(cls, values: Iterable[float], width: float) -> Decades:
        """From a power of ten to the largest of `values`, and some more; of these, those above 0 count."""
        above = [value for value in values if value > 0] or [1.0]
        return cls(10 ** math.floor(math.log10(min(above))), 2 * max(above), width)

    def place(self, value: float) -> float:
        """Pixels from the left; what is not above `low` is at 0."""
        if value <= self.low:
            return 0
        return self.width * math.log10(value / self.low) / math.log10(self.high / self.low)

    def marks(self) -> Iterator[int]:
        for power in range(round(math.log10(self.low)), math.floor(math.log10(self.high)) + 1):
            yield 10**power
