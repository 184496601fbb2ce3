# SPDX-License-Identifier: GPL-2.0-or-later
"""What a report says, worked out of a result and of the bounds: no HTML, no Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from dvhbuild.figures import count
from dvhbuild.matrix import FEW, Matrix, matrix
from dvhbuild.report.again import DIRTY, Inputs, commands, inputs
from dvhbuild.report.data import Mechanism, Paper, PaperRow, mechanisms, paper
from dvhbuild.result import Idle, Result, Row, Task
from dvhbuild.verdict import Bound, Outcome, judge, ranked, summary, unjudged

COUNTS = "bochs"
"""The machine whose clock counts instructions."""

CONFIGS = {
    "base": "Without our patches",
    "vm": "Plain VM",
    "off": "Nested, without DVH",
    "on": "Nested, with DVH",
    "dvh": "Nested, with DVH",
}
"""What a row's configuration is called, if it is not called by its own name."""

PLAIN, WITHOUT, WITH = ("vm", "base"), ("off", "base"), ("dvh", "on")
"""Configurations of a plain guest, of a nested one without DVH and with it, the one that is taken first."""


@dataclass(frozen=True)
class Verdict:
    """What became of the bounds: on rows, and those that could not be held against this result, each with a reason."""

    outcomes: tuple[Outcome, ...]
    unjudged: tuple[str, ...]

    @property
    def broken(self) -> tuple[Outcome, ...]:
        return tuple(outcome for outcome in self.outcomes if not outcome.holds)

    @property
    def words(self) -> str:
        """The verdict in a line."""
        bounds = len({outcome.bound for outcome in self.outcomes})
        if not bounds:
            return "No bound is for what was measured here"
        if broken := len({outcome.bound for outcome in self.broken}):
            return f"\N{BALLOT X} {broken} of {count(bounds, 'bound')} {'does' if broken == 1 else 'do'} not hold"
        rows = count(len({outcome.row.case for outcome in self.outcomes}), "row")
        return (
            "\N{CHECK MARK} " + (f"All {bounds} bounds hold" if bounds > 1 else "The only bound holds") + f" on {rows}"
        )

    @property
    def tightest(self) -> str:
        """Which of the bounds is the closest to being broken, as a sentence; nothing if that cannot be told."""
        told = summary(self.outcomes).partition("; ")[2]
        return f"{told[0].upper()}{told[1:]}." if told else ""


@dataclass(frozen=True)
class Effect:
    """What DVH changes of one operation: a nested guest without it and with it, and a plain one, if measured."""

    operation: str
    vm: Row | None
    off: Row | None
    on: Row

    @property
    def gain(self) -> float | None:
        """How many times fewer instructions it takes with DVH."""
        if self.off is None:
            return None
        return _ratio(self.off.instructions_p50, self.on.instructions_p50)


@dataclass(frozen=True)
class Compared:
    """One operation of the paper's beside ours: `nested` and `dvh` are multiples of a plain guest's."""

    theirs: PaperRow
    ours: str
    vm: float
    nested: float | None
    dvh: float | None

    @property
    def paper_nested(self) -> float:
        return self.theirs.nested / self.theirs.vm

    @property
    def paper_dvh(self) -> float:
        return self.theirs.dvh / self.theirs.vm


@dataclass(frozen=True)
class Shown:
    """A row whose picture is shown, with those beside which it is, on the same scale."""

    row: Row
    together: tuple[Row, ...]


@dataclass(frozen=True)
class Pictures:
    """One operation's pictures, without DVH and with it."""

    operation: str
    shown: tuple[Shown, ...]


@dataclass(frozen=True)
class Section:
    """A mechanism and the pictures that show it."""

    mechanism: Mechanism
    pictures: tuple[Pictures, ...]


@dataclass(frozen=True)
class Page:
    """All that a report says. What was not measured is empty, and `missing` has a sentence if one would ask."""

    result: Result
    rows: tuple[Row, ...]
    verdict: Verdict
    effects: tuple[Effect, ...]
    matrix: Matrix
    paper: Paper
    compared: tuple[Compared, ...]
    sections: tuple[Section, ...]
    others: tuple[Pictures, ...]
    idle: tuple[Idle, ...]
    tasks: tuple[Task, ...]
    inputs: Inputs
    commands: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def counts_instructions(self) -> bool:
        """Whether the machine's clock counts instructions; else its figures say nothing."""
        return self.result.inputs.machine == COUNTS

    @property
    def many_configs(self) -> bool:
        """Whether the matrix tells more than the effects do."""
        return len(self.matrix.columns) > FEW

    @property
    def distributed(self) -> tuple[Row, ...]:
        """Rows whose values are known."""
        return tuple(row for row in self.rows if row.distribution)

    @property
    def disturbed(self) -> tuple[Row, ...]:
        """Rows during which something else happened."""
        return tuple(row for row in self.rows if row.foreign)

    @property
    def known(self) -> str:
        """What of it had been measured before, as a sentence; nothing if nothing was."""
        before = [date for date in self.result.measured if date < self.result.made_by.date]
        if not before:
            return ""
        parts = f"{len(before)} of {count(len(self.result.measured), 'part')}"
        return f"{parts} had been measured before, the first on {min(before):%Y-%m-%d %H:%M} UTC."

    @property
    def changed(self) -> bool:
        """Whether the checkout had changes that no commit has."""
        return (self.result.made_by.commit or "").endswith(DIRTY)


def build(result: Result, bounds: Iterable[Bound]) -> Page:
    """Work out what the report of `result` says."""
    sections = tuple(_sections(result))
    drawn = {pictures.operation for section in sections for pictures in section.pictures}
    compared = tuple(_compared(result)) if result.inputs.machine == COUNTS else ()
    operations = dict.fromkeys(row.operation for row in result.rows)
    tasks = list(dict.fromkeys(task.operation for task in result.tasks))
    others = (_pictures(result, operation) for operation in operations if operation not in drawn)
    return Page(
        result=result,
        rows=tuple(_ordered(result.rows)),
        verdict=_verdict(result, bounds),
        effects=tuple(_effects(result)),
        matrix=matrix(_ordered(result.rows), judge(result, bounds)),
        paper=paper(),
        compared=compared,
        sections=sections,
        others=tuple(pictures for pictures in others if pictures.shown),
        idle=result.idle,
        tasks=tuple(sorted(result.tasks, key=lambda task: tasks.index(task.operation))),
        inputs=inputs(result),
        commands=commands(result),
        missing=tuple(_missing(result, compared, sections)),
    )


def find(result: Result, operation: str, config: str, level: int) -> Row | None:
    """The row of that, if there is one."""
    wanted = (operation, config, level)
    return next((row for row in result.rows if (row.operation, row.config, row.level) == wanted), None)


def first(result: Result, operation: str, configs: Iterable[str], level: int) -> Row | None:
    """The row of the first of `configs` that there is."""
    found = (find(result, operation, config, level) for config in configs)
    return next((row for row in found if row), None)


def _ordered(rows: Iterable[Row]) -> Iterator[Row]:
    """All that was measured of an operation together, and all operations of an experiment."""
    experiments: dict[str, dict[str, list[Row]]] = {}
    for row in rows:
        experiments.setdefault(row.experiment, {}).setdefault(row.operation, []).append(row)
    for operations in experiments.values():
        for alike in operations.values():
            yield from alike


def _ratio(value: float, to: float) -> float | None:
    return value / to if to else None


def _verdict(result: Result, bounds: Iterable[Bound]) -> Verdict:
    return Verdict(ranked(judge(result, bounds)), unjudged(result, bounds))


def _effects(result: Result) -> Iterator[Effect]:
    for on in _ordered(result.rows):
        if on == first(result, on.operation, WITH, on.level):
            vm, off = find(result, on.operation, "vm", 1), first(result, on.operation, WITHOUT, on.level)
            yield Effect(on.operation, vm, off, on)


def _compared(result: Result) -> Iterator[Compared]:
    """Of each of the paper's operations, the first of ours that was measured at all levels that it takes."""
    for theirs in paper().row:
        for ours in theirs.ours:
            vm = first(result, ours, PLAIN, 1)
            nested = first(result, ours, WITHOUT, 2)
            if vm and nested and vm.instructions_p50:
                dvh = first(result, ours, WITH, 2)
                yield Compared(
                    theirs,
                    ours,
                    vm=vm.instructions_p50,
                    nested=_ratio(nested.instructions_p50, vm.instructions_p50),
                    dvh=_ratio(dvh.instructions_p50, vm.instructions_p50) if dvh else None,
                )
                break


def _sections(result: Result) -> Iterator[Section]:
    for mechanism in mechanisms():
        all_pictures = (_pictures(result, operation) for operation in mechanism.operations)
        pictures = tuple(each for each in all_pictures if each.shown)
        if pictures:
            yield Section(mechanism, pictures)


def _pictures(result: Result, operation: str) -> Pictures:
    """Those of the highest level that performs `operation`, without DVH and with it, if it exits there at all."""
    rows = [row for row in result.rows if row.operation == operation and row.picture]
    highest = max((row.level for row in rows), default=0)
    pair = [first(result, operation, configs, highest) for configs in (WITHOUT, WITH)]
    shown = tuple(row for row in pair if row and row.picture and row.l0_exits_per_op)
    return Pictures(operation, tuple(Shown(row, shown) for row in shown))


def _missing(result: Result, compared: tuple[Compared, ...], sections: tuple[Section, ...]) -> Iterator[str]:
    """Sentences about what a reader may look for in vain."""
    if result.inputs.machine != COUNTS:
        yield (
            f"The clock of the machine {result.inputs.machine} does not count instructions, so that its figures of "
            "these say nothing; they are not held against the paper's."
        )
    elif not compared:
        yield "None of the operations of the paper's Table 3 was measured, so that it is not here."
    elif len(compared) < len(paper().row):
        absent = {row.operation for row in paper().row} - {each.theirs.operation for each in compared}
        names = ", ".join(row.operation for row in paper().row if row.operation in absent)
        yield f"Of the paper's Table 3, these were not measured: {names}."
    if not any(row.picture for row in result.rows):
        yield "The result has no traces of single operations, so that there are no pictures of them."
    elif not sections:
        yield "No operation was measured that shows a mechanism of DVH."
    if not result.idle:
        yield "What idle levels cost, and what L1's own tasks get, was not measured: that is the experiment idle-linux."
