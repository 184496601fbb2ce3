# SPDX-License-Identifier: GPL-2.0-or-later
"""What runs share in the cache: a saved state that one restores, directories of logs."""

import os
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from dvhbuild import lab
from dvhbuild.errors import GuestError
from dvhbuild.locks import locked
from dvhbuild.stack import load_stack
from dvhbuild.store import Store


class State:
    """A recipe of a saved machine without a machine."""

    name = "state-l1"

    def inputs(self):
        return {}

    def build(self, out, settings):
        (out / "machine").mkdir()


def test_a_state_is_not_pruned_while_it_is_restored(quiet, tmp_path, monkeypatch):
    store = Store(quiet)
    entry = SimpleNamespace(path=tmp_path)
    builder = SimpleNamespace(store=store, settings=quiet, cd=lambda _stack: entry, entry=lambda _name: entry)

    @contextmanager
    def start(_parts, _level, _directory, _settings, saved):
        assert store.prune("state-", max_days=-1, max_bytes=0) == ()
        assert saved.is_dir()
        raise GuestError("seen", level=0)
        yield

    monkeypatch.setattr(lab.bochs, "start", start)
    with pytest.raises(GuestError, match="seen"):
        with lab._nest(builder, load_stack("base-2cpu"), tmp_path, State(), entry):
            pass
    assert len(store.prune("state-", max_days=-1, max_bytes=0)) == 1


def test_old_run_directories_of_the_dead_are_removed(quiet):
    with subprocess.Popen(["true"]) as process:
        pass
    runs = quiet.cache / "runs"
    for number in range(30):
        pid = os.getpid() if number < 2 else process.pid
        path = runs / f"20260101-0000{number:02}-{pid}-test"
        path.mkdir(parents=True)
        os.utime(path, (number, number))
    made = lab.run_directory(quiet, "test")
    kept = sorted(path.name for path in runs.iterdir() if path != made)
    assert made.is_dir()
    assert [name[:15] for name in kept] == [f"20260101-0000{number:02}" for number in (0, 1, *range(10, 30))]


def test_run_directories_are_pruned_by_one_at_a_time(quiet):
    made = []
    other = threading.Thread(target=lambda: made.append(lab.run_directory(quiet, "test")))
    with locked(quiet, "runs"):
        other.start()
        other.join(0.5)
        assert not made
        assert not list(Path(quiet.cache / "runs").iterdir())
    other.join()
    assert made[0].is_dir()


def test_run_directories_of_one_moment_are_two(quiet):
    made = {lab.run_directory(quiet, "test") for _ in range(3)}
    assert len(made) == 3
