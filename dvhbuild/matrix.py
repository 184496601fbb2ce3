# SPDX-License-Identifier: GPL-2.0-or-later
"""Rows as a matrix: an operation a line, a configuration a column."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dvhbuild.result import Row
from dvhbuild.verdict import Outcome

FEW = 4
"""Columns up to which a table with a line for each row is as easily read."""


@dataclass(frozen=True)
class Cell:
    """A row, and those bounds on it that do not hold."""

    row: Row
    broken: tuple[Outcome, ...]


@dataclass(frozen=True)
class Line:
    """What was measured of `operation`, by column; None where it was not."""

    operation: str
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True)
class Matrix:
    """`columns` are the names of configurations, plain guests' first, with the level if there is one at two of them."""

    columns: tuple[str, ...]
    lines: tuple[Line, ...]


def matrix(rows: Iterable[Row], outcomes: Iterable[Outcome] = ()) -> Matrix:
    """All of `rows`: operations in their order, columns in that of their levels."""
    rows = tuple(rows)
    broken: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        if not outcome.holds:
            broken.setdefault(str(outcome.row.case), []).append(outcome)
    columns = tuple(dict.fromkeys((row.level, row.config) for row in sorted(rows, key=lambda row: row.level)))
    cells = {(row.operation, (row.level, row.config)): Cell(row, tuple(broken.get(str(row.case), ()))) for row in rows}
    operations = dict.fromkeys(row.operation for row in rows)
    return Matrix(
        tuple(_heading(level, config, columns) for level, config in columns),
        tuple(Line(name, tuple(cells.get((name, column)) for column in columns)) for name in operations),
    )


def _heading(level: int, config: str, columns: Iterable[tuple[int, str]]) -> str:
    levels = [each for each, name in columns if name == config]
    return f"{config}, L{level}" if len(levels) > 1 else config
