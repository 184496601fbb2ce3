# SPDX-License-Identifier: GPL-2.0-or-later
"""What comes of cells, known and new, is put together."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from test_result import RESULT, ROW

from dvhbuild import bench
from dvhbuild.cells import MEASURED, TRACES, Cell, CellRecipe, Measured
from dvhbuild.errors import UserError
from dvhbuild.experiments import choose
from dvhbuild.packages import Packages
from dvhbuild.recipes.workloads import PACKAGES
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


def test_workloads_come_with_what_their_programs_are_of(monkeypatch):
    part = Measured(date=RESULT.made_by.date, workloads=RESULT.workloads)
    monkeypatch.setattr(bench.crew, "measure", lambda _builder, recipes, **_: [part for _ in recipes])
    monkeypatch.setattr(bench, "inputs", lambda *_: RESULT.inputs)
    builder = SimpleNamespace(
        store=SimpleNamespace(find=lambda _recipe: None, prune=lambda *_, **__: None),
        artifacts=None,
        packages=Packages(Path(), {f"{name}_1.0-1_amd64.deb": "sha" for name in PACKAGES}),
        workloads=SimpleNamespace(digest="abc"),
    )
    builder.of = lambda _stack: builder
    stack = load_stack("vp")
    result = bench.perform(builder, bench.Job(stack, choose(["workloads"], stack), 1000))
    assert [work.workload for work in result.workloads] == ["tcp-rr"] * 3  # a plain guest; off; on
    assert result.inputs.bases["memcached"].version == "1.0-1"
    assert result.inputs.bases["linux"] == RESULT.inputs.bases["linux"]
    assert result.inputs.digests == {"kernel": "abc", "workloads": "abc"}


@pytest.mark.parametrize("configs", [["dvh"], ["vp", "dvh"]])
def test_a_run_that_would_measure_nothing_builds_nothing(configs):
    stack = load_stack("matrix").narrowed(configs)
    job = bench.Job(stack, choose(["port", "exits"], stack), 1000)
    with pytest.raises(UserError) as caught:
        bench.perform(None, job)  # without a builder
    nothing = f"matrix: nothing of port, exits is measured in the configuration {', '.join(configs)}"
    assert (caught.value.message, caught.value.remedy) == (nothing, "--config off or base")


def test_a_stack_without_configurations_has_nothing_to_measure():
    stack = load_stack("matrix").model_copy(update={"configs": {}, "measured": ()})
    with pytest.raises(UserError, match="matrix: this stack has no configurations to measure"):
        bench.perform(None, bench.Job(stack, choose(["exits"], stack), 1000))


@pytest.mark.parametrize(("name", "files"), [("workloads", "with programs"), ("idle-linux", "everyone's")])
def test_a_cell_has_the_disk_that_it_needs(quiet, name, files):
    builder = SimpleNamespace(
        settings=quiet,
        modular=False,
        entry=lambda _name: SimpleNamespace(digest="bochs"),
        cd=lambda _stack: SimpleNamespace(digest="cd"),
        artifacts=SimpleNamespace(files=SimpleNamespace(digest="everyone's")),
        workloads_disk=SimpleNamespace(digest="with programs"),
    )
    builder.of = lambda _stack: builder
    stack = load_stack("vp")
    cell = Cell(stack.configured("on"), 2, "linux", tuple((each, "on") for each in choose([name], stack)), 1000)
    assert CellRecipe(builder, cell).inputs()["files"] == files
