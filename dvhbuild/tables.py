# SPDX-License-Identifier: GPL-2.0-or-later
"""A result, and the verdict on it, as tables for people."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from dvhbuild.compare import COSTS, FAULTS, INSTRUCTIONS, RESOLUTION, Pair
from dvhbuild.figures import number, share
from dvhbuild.matrix import FEW, Cell, Matrix, matrix
from dvhbuild.result import Idle, Result, Row, Task, Workload
from dvhbuild.verdict import Bound, Outcome, ranked

FREQUENT = 4
"""Reasons of exits that a workload's line names."""


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def tables(result: Result, outcomes: Iterable[Outcome]) -> tuple[Table, ...]:
    """Tables for people, of what there is: operations, those in which a bound does not hold red; idle Linuxes; tasks
    beside an L2; workloads.
    """
    whole = matrix(result.rows, outcomes)
    operations = _matrix(whole) if len(whole.columns) > FEW else (rows_table(result.rows),)
    made = (*operations, _idle(result.idle), _tasks(result.tasks), _workloads(result.workloads))
    return tuple(table for table in made if table.row_count)


def _table(words: tuple[str, ...], numbers: tuple[str, ...]) -> Table:
    made = Table(box=SIMPLE, pad_edge=False)
    for heading in words:
        made.add_column(heading, no_wrap=True)
    for heading in numbers:
        made.add_column(heading, justify="right", no_wrap=True)
    return made


def _matrix(whole: Matrix) -> Iterator[Table]:
    """Exits to L0, and of a nested guest entries of L1; and instructions: medians, with "!" where a bound is broken."""
    for heading, tell in (("exits to L0 / entries of L1", _crossings), ("instructions", _instructions)):
        made = _table((heading,), whole.columns)
        for line in whole.lines:
            made.add_row(line.operation, *(_marked(cell, tell) for cell in line.cells))
        yield made


def _crossings(row: Row) -> str:
    exits = _figure(row.l0_exits_per_op)
    return f"{exits}/{_figure(row.l1_entries_per_op)}" if row.level > 1 else exits


def _instructions(row: Row) -> str:
    return _figure(row.instructions_p50)


def _marked(cell: Cell | None, tell: Callable[[Row], str]) -> Text:
    if cell is None:
        return Text("")
    return Text(f"! {tell(cell.row)}", style="bold red") if cell.broken else Text(tell(cell.row))


def rows_table(rows: Iterable[Row]) -> Table:
    """Operation x level; medians, and the largest number of exits where that is another."""
    numbers = ("level", "ops", "lost", "exits to L0", "max", "entries of L1", "max", "p50", "p90", "p99", "max")
    made = _table(("operation", "config"), numbers)
    for row in rows:
        values = (
            *(row.level, row.ops, row.lost, row.l0_exits_per_op, row.l0_exits_max),
            *(row.l1_entries_per_op, row.l1_entries_max),
            *(row.instructions_p50, row.instructions_p90, row.instructions_p99, row.instructions_max),
        )
        made.add_row(row.operation, row.config, *map(_figure, values))
    return made


def _idle(idle: Iterable[Idle]) -> Table:
    """What idle levels cost a second."""
    per_second = ("exits to L0", "entries of L1", "wake-ups of L1", "instructions of L0", "of L1", "of L2")
    made = _table(("idle, a second", "config"), ("level", "seconds", *per_second))
    for row in idle:
        executed = [row.instructions.get(name, 0) for name in ("L0", "L1", "L2")]
        counts = (sum(row.exits.values()), row.l1_entries, row.l1_wakeups, *executed)
        values = (row.level, row.seconds, *(count / row.seconds for count in counts))
        made.add_row("linux", row.config, *map(_figure, values))
    return made


def _tasks(tasks: Iterable[Task]) -> Table:
    """What tasks of L1 get."""
    made = _table(("task of L1", "config"), ("ops", "p50", "max", "sum"))
    for task in tasks:
        values = (task.ops, task.instructions_p50, task.instructions_max, task.instructions_sum)
        made.add_row(task.operation, task.config, *map(_figure, values))
    return made


def _workloads(workloads: Iterable[Workload]) -> Table:
    """What a transaction costs, and its most frequent exits."""
    numbers = ("level", "transactions", "exits to L0", "entries of L1", "instructions")
    made = _table(("workload, a transaction", "config"), numbers)
    made.add_column("most frequent exits", no_wrap=True)
    for work in workloads:
        each = [count / work.transactions for count in (sum(work.exits.values()), work.l1_entries, work.instructions)]
        often = Counter(work.exits).most_common(FREQUENT)
        reasons = ", ".join(f"{share(count / work.transactions)} {reason}" for reason, count in often)
        values = (_figure(work.level), _figure(work.transactions), *map(share, each[:2]), f"{each[2]:,.0f}")
        made.add_row(work.workload, work.config, *values, reasons)
    return made


def verdict_table(outcomes: Iterable[Outcome]) -> Table:
    """Bounds, and what was measured where each is broken or the tightest, and how many other rows it is for ("ipi +2");
    in the order of `ranked`.
    """
    by_bound: dict[Bound, list[Outcome]] = {}
    for outcome in ranked(outcomes):
        by_bound.setdefault(outcome.bound, []).append(outcome)
    made = _table(("", "bound", "operation", "config"), ("level", "measured", "limit", "margin"))
    made.add_column("why", no_wrap=True)
    for outcome in ranked(line for same in by_bound.values() for line in _broken_or_tightest(same)):
        bound, row, others = outcome.bound, outcome.row, len(by_bound[outcome.bound]) - 1
        operation = f"{row.operation} +{others}" if others and outcome.holds else row.operation
        where = (operation, row.config, str(row.level))
        values = (number(outcome.value), _limit(bound), _margin(outcome))
        made.add_row("holds" if outcome.holds else "FAILED", bound.figure, *where, *values, bound.why)
    return made


def _broken_or_tightest(same: list[Outcome]) -> list[Outcome]:
    """Of one bound's, in their order."""
    return [outcome for outcome in same if not outcome.holds] or same[:1]


def _limit(bound: Bound) -> str:
    """Short, for a column."""
    if bound.max is None:
        return f"≥ {number(bound.min or 0)}"
    if bound.exact:
        return number(bound.max)
    return f"≤ {number(bound.max)}" if bound.min is None else f"{number(bound.min)} to {number(bound.max)}"


def _margin(outcome: Outcome) -> str:
    if outcome.holds and outcome.bound.exact:
        return "exact"
    return f"{outcome.margin:.0%}" if math.isfinite(outcome.margin) else "none"


def comparison_table(changed: Iterable[Pair]) -> Table:
    """Before -> after, in the order given; what stayed as it was is shown once."""
    made = _table(("operation", "config"), ("level", "exits to L0", "entries of L1", "p50", "change"))
    made.add_column("besides", no_wrap=True)
    for pair in changed:
        case = pair.after.case
        costs = (_arrow(pair, field) for field in COSTS)
        faults = ", ".join(f"{field} {_arrow(pair, field)}" for field in FAULTS if not pair.same(field))
        made.add_row(case.operation, case.config, str(case.level), *costs, _change(pair), faults)
    return made


def _arrow(pair: Pair, field: str) -> str:
    before, after = map(_figure, pair.values(field))
    return after if before == after else f"{before} → {after}"


def _change(pair: Pair) -> str:
    if pair.same(INSTRUCTIONS):
        return f"within {RESOLUTION}" if pair.change else "none"
    return "new" if pair.change is None else f"{pair.change:+.1%}"
