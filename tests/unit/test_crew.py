# SPDX-License-Identifier: GPL-2.0-or-later
"""Cells are done by whoever has time, in any order, and come back in theirs; what fails is told as it was."""

import io
import json
import pickle
import socket
import threading
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from dvhbuild import crew
from dvhbuild.cells import MEASURED, TRACES, Measured, read
from dvhbuild.errors import CancelledError, GuestError, HostError, UserError
from dvhbuild.settings import Settings
from dvhbuild.steps import Step
from dvhbuild.store import Store
from dvhbuild.terminal import TerminalReporter

NOW = "2026-01-02T03:04:05Z"


@dataclass(frozen=True)
class FakeRecipe:
    """Stands in for CellRecipe; `cell` says what happens."""

    builder: object
    cell: str
    fresh: bool = False
    name = "cell"

    def inputs(self):
        return {"cell": self.cell, "tree": self.builder.tree}

    def build(self, out, settings):
        self.builder.done.append(self.cell)
        if self.cell == "fails":
            raise GuestError("L1: it panicked", level=1, tail=("last words",), log=Path("l1.log"))
        if self.cell == "waits":
            self.builder.waits.set()
            assert settings.cancelled.wait(20)
            raise CancelledError("cancelled")
        if self.cell == "after waits":
            assert self.builder.waits.wait(20)
            raise GuestError("L2: it hangs", level=2)
        (out / MEASURED).write_text(Measured(date=NOW, tasks=()).model_dump_json())
        (out / TRACES).write_bytes(self.cell.encode())


@pytest.fixture
def builder(tmp_path, monkeypatch):
    monkeypatch.setattr(crew, "CellRecipe", FakeRecipe)
    monkeypatch.setattr(crew, "machines", lambda: 2)
    settings = Settings(root=tmp_path, cache=tmp_path / "cache")
    return SimpleNamespace(
        settings=settings, store=Store(settings), tree="ours", done=[], waits=threading.Event(), artifacts=None
    )


def measure(builder, *cells, again=False, scheduler=None):
    return crew.measure(builder, [FakeRecipe(builder, cell) for cell in cells], again=again, scheduler=scheduler)


def test_each_cell_is_done_once_and_kept(builder):
    assert [str(part.date) for part in measure(builder, "one", "two", "three")] == ["2026-01-02 03:04:05+00:00"] * 3
    measure(builder, "two", "four")
    assert sorted(builder.done) == ["four", "one", "three", "two"]
    assert [part.traces for part in measure(builder, "four", "one")] == [b"four", b"one"]
    measure(builder, "two", again=True)
    assert sorted(builder.done) == ["four", "one", "three", "two", "two"]


def test_the_error_comes_as_it_was_raised(builder):
    with pytest.raises(GuestError, match="L1: it panicked") as caught:
        measure(builder, "one", "fails")
    assert (caught.value.level, caught.value.tail, caught.value.log) == (1, ("last words",), Path("l1.log"))


def test_a_failure_ends_the_others_and_is_the_one_that_is_told(builder):
    with pytest.raises(GuestError, match="L2: it hangs"):
        measure(builder, "waits", "after waits", "never begun")
    assert builder.settings.cancelled.is_set()
    assert "never begun" not in builder.done


@pytest.mark.parametrize(
    ("inputs", "differing"),
    [
        ({"cell": "one", "tree": "another"}, "tree"),
        ({"cell": "one"}, "tree"),
        ({"cell": "one", "tree": "ours", "place": "here"}, "place"),
        ({"cell": "one", "place": "here", "tree": "another"}, "place, tree"),
    ],
)
def test_a_worker_that_has_other_inputs_does_not_measure(builder, inputs, differing):
    order = crew._Order("one", fresh=False, again=False, inputs=inputs)
    worker = SimpleNamespace(extensions={crew._BUILDER: builder}, address="tcp://there:1")
    says = f"tcp://there:1: it has another {differing} than"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(HostError, match=says):
        patch.setattr("distributed.get_worker", lambda: worker)
        crew._perform(order)
    assert not builder.done


@pytest.fixture
def scheduler(builder):
    """The address of a scheduler with one worker, which has a store of its own."""
    settings = Settings(root=builder.settings.root, cache=builder.settings.cache.with_name("theirs"))
    theirs = SimpleNamespace(**vars(builder) | {"settings": settings, "store": Store(settings)})
    with crew._own_workers(1) as cluster:
        for worker in cluster.workers.values():
            worker.extensions[crew._BUILDER] = theirs
        yield cluster.scheduler_address


def test_what_others_measured_is_known_here_even_if_it_ends_early(builder, scheduler):
    with pytest.raises(GuestError, match="L1: it panicked"):
        measure(builder, "one", "fails", scheduler=scheduler)
    entry = builder.store.find(FakeRecipe(builder, "one"))
    assert read(entry.path).traces == b"one"
    assert not builder.store.find(FakeRecipe(builder, "fails"))
    assert builder.done == ["one", "fails"]


def test_what_others_measured_again_is_known_here_instead(builder, scheduler):
    old = builder.store.obtain(FakeRecipe(builder, "one")).path
    (old / TRACES).write_bytes(b"old")
    assert [part.traces for part in measure(builder, "one", again=True, scheduler=scheduler)] == [b"one"]
    assert read(old).traces == b"one"


@pytest.mark.parametrize(
    ("cpus", "gib", "count"), [(2, 24, 2), (2, 4, 2), (64, 16, 8), (8, 16, 8), (8, 15, 7), (1, 8, 1), (4, 1, 1)]
)
def test_a_machine_takes_a_core_and_2_gib(monkeypatch, cpus, gib, count):
    monkeypatch.setattr("dask.system.CPU_COUNT", cpus)
    monkeypatch.setattr("distributed.system.MEMORY_LIMIT", gib << 30)
    assert crew.machines() == count


def test_each_line_that_a_worker_has_begun_ends_with_its_own_step():
    """Two workers do the same at the same time; what a third does began before anybody listened."""
    terminal = Console(file=io.StringIO(), width=60, force_terminal=True, no_color=True, color_system=None)
    reporter = TerminalReporter(terminal)
    hearer = crew._Hearer(reporter)

    def log(_topic, event):
        hearer.hear((0, json.loads(json.dumps(event))))

    addresses = ("tcp://one:1", "tcp://two:1", "tcp://three:1")
    tellers = [crew._Teller(SimpleNamespace(address=address, log_event=log)) for address in addresses]
    step = Step("boot L1")
    for teller in tellers[:2]:
        teller.started(step)
    tellers[1].advanced(step, "the second")
    tellers[2].stopped(step, 9, None)
    tellers[0].stopped(step, 1, None)
    shown = [task.description for task in reporter._progress.tasks]
    tellers[1].stopped(step, 1, ValueError("bad"))
    assert shown == ["boot L1: the second"]
    assert reporter._progress is None
    assert "boot L1: failed" in terminal.file.getvalue()


def test_an_address_where_nobody_is_is_told(builder, monkeypatch):
    monkeypatch.setattr(crew, "CONNECT_SECONDS", 1)
    with pytest.raises(UserError, match="tcp://127.0.0.1:1: no scheduler answers there"):
        measure(builder, "one", scheduler="tcp://127.0.0.1:1")


@pytest.mark.parametrize(
    "error",
    [
        GuestError("L1: gone", level=1, tail=("a", "b"), remedy="do", log=Path("x")),
        HostError("full", remedy="more"),
        UserError("bad"),
        CancelledError("cancelled"),
    ],
)
def test_errors_survive_the_way_from_process_to_process(error):
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_another_run_beside_it_makes_no_difference(builder, recwarn):
    with ExitStack() as taken:
        with suppress(OSError):  # it is taken
            taken.enter_context(socket.create_server(("", 8787)))  # dask's own choice
        measure(builder, "one")
    assert not [warning for warning in recwarn if "already in use" in str(warning.message)]
