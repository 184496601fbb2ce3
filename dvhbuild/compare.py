# SPDX-License-Identifier: GPL-2.0-or-later
"""Two results: which of their inputs differ, and what that did to each row."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from dvhbuild.figures import count
from dvhbuild.result import Case, Result, Row

RESOLUTION = 32
"""Instructions that a median may differ by for nothing: the emulated machine's RDTSC goes by 16, and is read twice."""

EXITS, ENTRIES, INSTRUCTIONS = "l0_exits_per_op", "l1_entries_per_op", "instructions_p50"
COSTS = {EXITS: 0, ENTRIES: 0, INSTRUCTIONS: RESOLUTION}
"""What a row costs, and by how much each figure may differ for nothing."""

FAULTS = ("lost", "early", "wrong")

REPEATS = 0.05
"""Within what share another run of the same inputs has its medians of instructions (README): some operations have two
modes."""

SHORT = 12
"""Characters of a commit or a digest."""

NOTHING = "nothing"


@dataclass(frozen=True)
class Difference:
    """One input as it was and is; of options and other lists, only what the other one has not."""

    what: str
    before: str
    after: str


@dataclass(frozen=True)
class Pair:
    """The same row of both results."""

    before: Row
    after: Row

    def values(self, field: str) -> tuple[float, float]:
        return getattr(self.before, field), getattr(self.after, field)

    def same(self, field: str) -> bool:
        before, after = self.values(field)
        return abs(after - before) <= COSTS.get(field, 0)

    @property
    def unchanged(self) -> bool:
        return all(self.same(field) for field in (*FAULTS, *COSTS))

    @property
    def repeats(self) -> bool:
        """Whether another run of the same inputs may have as much of a change."""
        counts = all(self.same(field) for field in (*FAULTS, EXITS, ENTRIES))
        return counts and self.change is not None and abs(self.change) <= REPEATS

    @property
    def change(self) -> float | None:
        """How many more instructions, as a share of those before; None if these were none."""
        before, after = self.values(INSTRUCTIONS)
        return (after - before) / before if before else None

    @property
    def size(self) -> tuple[bool, float]:
        """To sort by: whether more or less is lost, early or wrong; and how many times the lower figure the higher is:
        of exits, of entries, or of instructions, as far as the clock leaves no doubt, whichever is most.
        """
        times = (_times(*self.values(field), slack) for field, slack in COSTS.items())
        return not all(self.same(field) for field in FAULTS), max(times)


def _times(one: float, other: float, slack: float) -> float:
    low, high = sorted((one, other))
    if high - low <= slack:
        return 1.0
    return (high - slack) / max(low, slack) if low or slack else math.inf


@dataclass(frozen=True)
class Comparison:
    """`changed` has the largest change first. `vanished` and `appeared` are rows that only one of the results has."""

    inputs: tuple[Difference, ...]
    changed: tuple[Pair, ...]
    unchanged: tuple[Case, ...]
    vanished: tuple[Case, ...]
    appeared: tuple[Case, ...]


def compare(before: Result, after: Result) -> Comparison:
    """Compare two results, whatever they are of."""
    return replace(compare_rows(before.rows, after.rows), inputs=tuple(_differences(before, after)))


def compare_rows(before: Iterable[Row], after: Iterable[Row]) -> Comparison:
    """Compare rows, whatever led to them."""
    old, new = ({row.case: row for row in rows} for rows in (before, after))
    pairs = [Pair(old[case], row) for case, row in new.items() if case in old]
    return Comparison(
        inputs=(),
        changed=tuple(sorted((pair for pair in pairs if not pair.unchanged), key=lambda pair: pair.size, reverse=True)),
        unchanged=tuple(pair.after.case for pair in pairs if pair.unchanged),
        vanished=tuple(case for case in old if case not in new),
        appeared=tuple(case for case in new if case not in old),
    )


def names(cases: Iterable[Case], others: Iterable[Case]) -> str:
    """`cases`, which are not among `others`, in a line: an experiment as such if nothing of it is."""
    performed = {case.experiment for case in others}
    told = []
    for experiment, of_it in itertools.groupby(sorted(cases, key=_experiment), key=_experiment):
        missing = [str(case) for case in of_it]
        told += missing if experiment in performed else [f"{experiment} ({count(len(missing), 'row')})"]
    return ", ".join(told)


def _experiment(case: Case) -> str:
    return case.experiment


def document(comparison: Comparison) -> dict[str, Any]:
    """The comparison for a program to read."""
    changed = [
        asdict(pair.after.case)
        | {field: dict(zip(("before", "after"), pair.values(field), strict=True)) for field in (*COSTS, *FAULTS)}
        for pair in comparison.changed
    ]
    return asdict(comparison) | {"changed": changed, "resolution": RESOLUTION}


def _differences(before: Result, after: Result) -> Iterator[Difference]:
    kinds = (_series(before), _series(after), _patches), (_options(before), _options(after), _words)
    for old, new, shown in kinds:
        for what in dict.fromkeys((*old, *new)):
            one, other = old.get(what, ()), new.get(what, ())
            if one != other:
                yield Difference(what, shown(one, other), shown(other, one))


def _series(result: Result) -> dict[str, tuple[str, ...]]:
    return {f"series of {name}": tuple(commits) for name, commits in result.inputs.series.items()}


def _options(result: Result) -> dict[str, tuple[str, ...]]:
    """The other inputs that may change what is counted, by name, each as a list of words."""
    inputs = result.inputs
    levels = [
        {**level, "append": None} for level in inputs.stack.get("levels", ())
    ]  # part of the kernels' command lines
    return {
        "dvhbuild": (result.made_by.version, result.made_by.commit or "of no commit"),
        "machine": (inputs.machine,),
        "operations of each kind": tuple(f"{ops:,}" for ops in sorted({row.ops for row in result.rows})),
        **{name: (base.version, f"({base.origin})") for name, base in inputs.bases.items()},
        **{f"digest of {name}": (digest[:SHORT],) for name, digest in inputs.digests.items()},
        **{f"command line of L{n}": tuple(line.split()) for n, line in enumerate(inputs.kernel_command_lines)},
        **dict(_flat("stack", {**inputs.stack, "description": None, "levels": levels})),
    }


def _flat(name: str, value: Any) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What is set in a stack, by its place in it: ("stack.levels.1.qemu", ("-cpu", "host"))."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(f"{name}.{key}", inner)
    elif isinstance(value, list) and not all(isinstance(inner, str) for inner in value):
        for index, inner in enumerate(value):
            yield from _flat(f"{name}.{index}", inner)
    elif isinstance(value, list):
        yield name, tuple(" ".join(inner.split()) for inner in value)
    elif value is not None:
        yield name, tuple(str(value).split())


def _words(words: tuple[str, ...], others: tuple[str, ...]) -> str:
    """Those that the other one has not, or all of them if it is only their order that is another one."""
    only, theirs = Counter(words) - Counter(others), Counter(others) - Counter(words)
    shown = words if not only and not theirs else tuple(only.elements())
    return " ".join(shown) or NOTHING


def _patches(commits: tuple[str, ...], others: tuple[str, ...]) -> str:
    """How many, and which is the first that is another one."""
    same = sum(1 for _ in itertools.takewhile(lambda two: two[0] == two[1], zip(commits, others, strict=False)))
    first = f", no. {same + 1} is {commits[same][:SHORT]}" if same < len(commits) else ""
    return f"{count(len(commits), 'patch', 'patches')}{first}"
