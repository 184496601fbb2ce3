# SPDX-License-Identifier: GPL-2.0-or-later
"""Many operations in a few figures, and the sequences that they most often were."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dvhbuild.trace.operations import Cut
from dvhbuild.trace.records import TraceError

TOP = 5
"""Sequences that a summary keeps."""


@dataclass(frozen=True)
class Spread:
    """One quantity over all operations, in its own unit; `p90` is the smallest value that 90 % do not exceed."""

    median: float
    mean: float
    p90: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Raises TraceError if there are no values."""
        if not values:
            raise TraceError("no operation between markers in the trace", remedy="was the probe told to `mark`?")
        ordered = sorted(values)
        p90 = ordered[math.ceil(0.9 * len(ordered)) - 1]
        return cls(statistics.median(ordered), statistics.fmean(ordered), p90, ordered[-1])


@dataclass(frozen=True)
class Summary:
    """`ops` operations: exits to L0, entries of L1 and ticks of each; `foreign` exits by name; the `TOP` sequences."""

    ops: int
    l0_exits: Spread
    l1_entries: Spread
    ticks: Spread
    foreign: Mapping[str, int]
    sequences: tuple[tuple[tuple[str, ...], int], ...]


def summarize(cut: Cut, top: int = TOP) -> Summary:
    """Summarize the operations of `cut`; raises TraceError if there are none."""
    operations = cut.operations
    foreign: Counter[str] = Counter()
    for operation in operations:
        foreign.update(operation.foreign)
    return Summary(
        ops=len(operations),
        l0_exits=Spread.of([operation.l0_exits for operation in operations]),
        l1_entries=Spread.of([operation.l1_entries for operation in operations]),
        ticks=Spread.of([operation.ticks for operation in operations]),
        foreign=dict(foreign),
        sequences=tuple(Counter(operation.tokens for operation in operations).most_common(top)),
    )
