# SPDX-License-Identifier: GPL-2.0-or-later
"""Rows as a matrix, and as a table of it."""

import os

from rich.console import Console
from test_result import RESULT, ROW

from dvhbuild.matrix import matrix
from dvhbuild.tables import tables
from dvhbuild.verdict import Bound, judge

BOUND = Bound(metric="l1_entries_per_op", operation="ipi", config="dvh", max=0, why="L0 sends it")


def row(operation, config, level=2, entries=2, p50=16000.0):
    figures = {"l0_exits_per_op": entries + 1, "l1_entries_per_op": entries, "instructions_p50": p50}
    return ROW.model_copy(update={"operation": operation, "config": config, "level": level, **figures})


ROWS = (
    *(row("ipi", config) for config in ("base", "off", "timer")),
    *(row("ipi", config, entries=0, p50=1440.0) for config in ("ipi", "dvh")),
    *(row("cpuid", config) for config in ("base", "off")),
    *(row("ipi", config, 1, 0, 1168.0) for config in ("base", "vm")),
)


def cells(made, operation):
    (line,) = (line for line in made.lines if line.operation == operation)
    return dict(zip(made.columns, line.cells, strict=True))


def test_a_line_an_operation_a_column_a_configuration_plain_guests_first():
    made = matrix(ROWS)
    assert made.columns == ("base, L1", "vm", "base, L2", "off", "timer", "ipi", "dvh")
    assert [line.operation for line in made.lines] == ["ipi", "cpuid"]
    columns = [(1, "base"), (1, "vm"), *((2, config) for config in ("base", "off", "timer", "ipi", "dvh"))]
    assert [(cell.row.level, cell.row.config) for cell in cells(made, "ipi").values()] == columns
    assert [name for name, cell in cells(made, "cpuid").items() if cell] == ["base, L2", "off"]


def test_a_broken_bound_is_in_its_cell_and_in_no_other():
    rows = (*(each for each in ROWS if each.config != "dvh"), row("ipi", "dvh", entries=1))
    made = matrix(rows, judge(RESULT.model_copy(update={"rows": rows}), [BOUND]))
    broken = [cell for line in made.lines for cell in line.cells if cell and cell.broken]
    assert [(cell.row.case.config, [outcome.bound for outcome in cell.broken]) for cell in broken] == [("dvh", [BOUND])]
    assert not any(cell.broken for cell in cells(matrix(ROWS, judge(RESULT, [BOUND])), "ipi").values())


def shown(rows):
    result = RESULT.model_copy(update={"rows": rows, "idle": (), "tasks": ()})
    console = Console(width=160, record=True, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123
    console.print(*tables(result, judge(result, [BOUND])))
    return [" ".join(line.split()) for line in console.export_text().splitlines()]


def test_many_configurations_are_shown_as_a_matrix_few_as_rows():
    assert [line for line in shown(ROWS) if line.startswith("ipi ")] == [
        "ipi 1 1 3/2 3/2 3/2 1/0 1/0",
        "ipi 1,168 1,168 16,000 16,000 16,000 1,440 1,440",
    ]
    broken = (*ROWS[:4], row("ipi", "dvh", entries=1))
    assert [line for line in shown(broken) if line.startswith("ipi ")] == [
        "ipi 3/2 3/2 3/2 1/0 ! 2/1",
        "ipi 16,000 16,000 16,000 1,440 ! 16,000",
    ]
    assert sum(line.startswith("ipi ") for line in shown(ROWS[:4])) == 4
