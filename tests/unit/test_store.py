# SPDX-License-Identifier: GPL-2.0-or-later
"""The build cache: made once, whole or not at all, and able to say why it must build."""

import errno
import os
import shutil
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dvhbuild.errors import HostError
from dvhbuild.locks import locked
from dvhbuild.settings import Settings
from dvhbuild.store import Store, digest_files


@dataclass
class Toy:
    """A recipe that writes its input to a file, and counts."""

    text: str = "a"
    name: str = "toy"
    fails: BaseException | None = None
    seconds: float = 0
    built: list[str] = field(default_factory=list)

    def inputs(self):
        return {"text": self.text, "compiler": "cc 1"}

    def build(self, out: Path, settings: Settings) -> None:
        self.built.append(self.text)
        (out / "file").write_text(self.text)
        time.sleep(self.seconds)
        if self.fails:
            raise self.fails


@pytest.fixture
def store(tmp_path):
    return Store(Settings(root=tmp_path, cache=tmp_path / "cache"))


def test_same_inputs_are_built_once(store):
    toy = Toy()
    first, second = store.obtain(toy), store.obtain(toy)
    assert first == second
    assert toy.built == ["a"]
    assert (first.path / "file").read_text() == "a"


def test_other_inputs_are_built(store):
    assert store.obtain(Toy("a")).path != store.obtain(Toy("b")).path


def test_anew_builds_again(store):
    toy = Toy()
    store.obtain(toy)
    store.obtain(toy, anew=True)
    assert toy.built == ["a", "a"]


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt()])
def test_a_build_that_ends_early_leaves_nothing(store, error):
    with pytest.raises(type(error)):
        store.obtain(Toy(fails=error))
    assert list(store.root.iterdir()) == []
    assert store.find(Toy()) is None


def test_a_full_disk_is_named_with_a_remedy(store):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/somewhere/file")
    with pytest.raises(HostError, match="/somewhere/file: No space left on device") as caught:
        store.obtain(Toy(fails=full))
    assert "DVHBUILD_CACHE" in caught.value.remedy
    assert list(store.root.iterdir()) == []


def test_concurrent_runs_build_once(store):
    toy = Toy(seconds=0.3)
    threads = [threading.Thread(target=store.obtain, args=(toy,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert toy.built == ["a"]


def test_explain_names_the_input_that_changed(store):
    assert store.explain(Toy("a")) == ("never built before",)
    store.obtain(Toy("a"))
    assert store.explain(Toy("a")) == ()
    assert store.explain(Toy("b")) == ("text: a -> b",)


def test_prune_removes_old_and_large_but_not_others(store):
    for text in "abc":
        entry = store.obtain(Toy(text, name="state"))
        (entry.path / "memory").write_bytes(bytes(1 << 20))
        os.utime(entry.path, (time.time() - ord("d") + ord(text),) * 2)
    old = store.obtain(Toy("old", name="state"))
    os.utime(old.path, (time.time() - 9 * 86400,) * 2)
    other = store.obtain(Toy("x", name="toy"))
    removed = store.prune("state", max_days=7, max_bytes=5 << 19)
    assert {entry.inputs["text"] for entry in removed} == {"old", "a"}
    assert other.path.exists()


def test_prune_leaves_what_is_in_use(store):
    toy = Toy(name="state")
    with store.use(toy), store.use(toy) as entry:
        assert store.prune("state", max_days=-1, max_bytes=0) == ()
        assert (entry.path / "file").read_text() == "a"
    assert store.prune("state", max_days=-1, max_bytes=0) == (entry,)
    assert list(store.root.iterdir()) == []


def test_what_is_pruned_before_it_is_in_use_is_built_again(quiet):
    toy = Toy()
    store = Store(quiet)
    found = store.obtain(toy)
    read = []

    def use():
        with store.use(toy) as entry:
            read.append((entry.path / "file").read_text())

    user = threading.Thread(target=use)
    with locked(quiet, found.path.name):  # as a prune has it that has begun
        user.start()
        while user.is_alive() and not quiet.reporter.steps:
            time.sleep(0.01)
        store._discard(found.path)
    user.join()
    assert (read, toy.built) == (["a"], ["a", "a"])
    assert quiet.reporter.steps == [f"wait for another dvhbuild that works on {found.path.name}"]


def test_a_removal_that_is_interrupted_leaves_no_part_of_a_result(store, monkeypatch):
    store.obtain(Toy())

    def interrupted(*_, **_options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.prune("toy", max_days=-1, max_bytes=0)
    assert store.find(Toy()) is None
    assert list(store.entries()) == []
    (left,) = store.root.iterdir()
    left.rename(left.with_name(f"{left.name.rpartition('-')[0]}-{_dead()}"))
    store.obtain(Toy("b"))
    assert [entry.inputs["text"] for entry in store.entries()] == ["b"]
    assert len(list(store.root.iterdir())) == 1, "what a dead process left is gone"


def test_one_recipe_is_built_from_two_inputs_at_once(store):
    both = threading.Barrier(2, timeout=10)

    class Slow(Toy):
        def build(self, out, settings):
            both.wait()
            super().build(out, settings)

    with ThreadPoolExecutor(2) as pool:
        assert len({entry.path for entry in pool.map(store.obtain, (Slow("a"), Slow("b")))}) == 2


def _dead():
    """The pid of a process that is no more."""
    with subprocess.Popen(["true"]) as process:
        pass
    return process.pid


def test_digest_of_files_sees_names_and_contents(tmp_path):
    one, two = tmp_path / "d" / "one", tmp_path / "d" / "two"
    one.parent.mkdir()
    one.write_text("x")
    before = digest_files(one.parent)
    one.rename(two)
    renamed = digest_files(two.parent)
    two.write_text("y")
    assert len({before, renamed, digest_files(two.parent)}) == 3
