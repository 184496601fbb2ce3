# SPDX-License-Identifier: GPL-2.0-or-later
"""What comes of cells, known and new, is put together."""

from types import SimpleNamespace

import pytest
from test_result import RESULT, ROW

from dvhbuild import bench
from dvhbuild.cells import MEASURED, TRACES, Measured
from dvhbuild.experiments import choose
from dvhbuild.stack import load_stack
from dvhbuild.traces import Traced, pack


def measured(operation):
    row = ROW.model_copy(update={"operation": operation})
    traces = pack([Traced(row, operation.encode(), {0: 2}, ((1, 2),))])
    return Measured(date=RESULT.made_by.date, rows=(row,)).model_copy(update={"traces": traces})


@pytest.fixture
def builder(tmp_path, monkeypatch):
    """One whose store knows what came of the first cell."""
    known = measured("known")
    (tmp_path / MEASURED).write_text(known.model_dump_json())
    (tmp_path / TRACES).write_bytes(known.traces)
    entries = iter([SimpleNamespace(path=tmp_path)])
    store = SimpleNamespace(find=lambda _recipe: next(entries, None), prune=lambda *_, **__: None)
    monkeypatch.setattr(bench, "inputs", lambda *_: RESULT.inputs)
    builder = SimpleNamespace(store=store, artifacts=None)
    builder.of = lambda _stack: builder
    return builder


def test_each_row_comes_with_its_trace_if_that_is_asked_for(builder, monkeypatch):
    def measure(_builder, recipes, **_):
        return [measured(f"new {number}") for number, _ in enumerate(recipes)]

    monkeypatch.setattr(bench.crew, "measure", measure)
    stack = load_stack("base-2cpu")
    kept = []
    result = bench.perform(builder, bench.Job(stack, choose(["exits"], stack), 1000), None, kept.append)
    assert [row.operation for row in result.rows] == ["known", "new 0"]
    assert [(each.row, each.data) for each in kept] == [(row, row.operation.encode()) for row in result.rows]
    assert "traces" not in result.model_dump_json()
