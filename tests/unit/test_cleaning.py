# SPDX-License-Identifier: GPL-2.0-or-later
"""What is removed from the cache, and what is left to a dvhbuild that runs."""

import os
import re
import shutil
import subprocess
from contextlib import ExitStack

import pytest
from minitree import commit, git

from dvhbuild.cleaning import AREAS, BUILT, FOUND, clean
from dvhbuild.locks import locked, shared
from dvhbuild.series import apply, import_base, load_series
from dvhbuild.settings import ROOT

GONE = "2147483647"
"""No process has that number."""

PARTS = (
    f"runs/20261130-120000-{GONE}-boot",
    "runs/stray",
    "store/linux-0123456789abcdef",
    "store/state-l1-0123456789abcdef",
    f"store/.linux-abcd-{GONE}",
    "work/linux",
    "work/qemu",
    *BUILT,
    *FOUND,
)


@pytest.fixture
def full(quiet):
    """A cache with something of everything; returns what of it is there."""
    for part in PARTS:
        (quiet.cache / part / "inside").mkdir(parents=True)
    for lock in ("git-linux", "base-linux", "apt", "packages", "linux-0123456789abcdef", "work-linux"):
        with locked(quiet, lock):
            pass

    def there():
        return {part for part in PARTS if (quiet.cache / part).exists()}

    return there


def names(paths, settings):
    return {str(path.relative_to(settings.cache)) for path in paths}


def test_what_was_built_goes_and_the_rest_if_asked_for(quiet, full):
    done = clean(quiet, everything=False)
    assert (names(done.removed, quiet), done.left) == ({*AREAS, *BUILT}, [])
    assert full() == set(FOUND)
    done = clean(quiet, everything=True)
    assert (names(done.removed, quiet), done.left) == (set(FOUND), [])
    assert [path.name for path in quiet.cache.iterdir()] == ["locks"]


def test_the_list_has_all_that_is_put_into_the_cache():
    sources = (path.read_text() for path in (ROOT / "dvhbuild").rglob("*.py"))
    used = {name for source in sources for name in re.findall(r'\bcache / "([\w-]+)"', source)}
    assert used == {*AREAS, *BUILT, *FOUND, "locks"}


@pytest.mark.parametrize(
    ("lock", "of"),
    [
        ("work-linux", {"work/linux"}),
        ("linux-0123456789abcdef", {"store/linux-0123456789abcdef"}),
        ("git-linux", set()),
        ("base-linux", set()),
        ("apt", set()),
        ("packages", set()),
    ],
)
def test_what_is_being_made_is_left_with_all_that_it_may_be_made_of(quiet, full, lock, of):
    with locked(quiet, lock):
        done = clean(quiet, everything=True)
    assert names(done.left, quiet) == full() == {*of, *BUILT, *FOUND}
    assert all((quiet.cache / part / "inside").exists() for part in full())


def test_what_is_being_read_is_left(quiet, full):
    with shared(quiet, "state-l1-0123456789abcdef"):
        done = clean(quiet, everything=False)
    assert names(done.left, quiet) == {"store/state-l1-0123456789abcdef", *BUILT}
    assert full() == {"store/state-l1-0123456789abcdef", *BUILT, *FOUND}


def test_a_machine_that_runs_keeps_its_logs_and_what_it_runs(quiet, full):
    run = f"runs/20261130-120000-{os.getpid()}-boot"
    (quiet.cache / run).mkdir()
    done = clean(quiet, everything=True)
    assert names(done.left, quiet) == {run, "store", *BUILT, *FOUND}
    assert {part for part in PARTS if part.startswith("store/")} <= full()
    assert not {part for part in PARTS if part.startswith(("runs/", "work/"))} & full()


def test_a_result_in_the_making_is_left(quiet, full):
    (quiet.cache / f"store/.qemu-abcd-{os.getpid()}").mkdir()
    assert names(clean(quiet, everything=False).left, quiet) == {f"store/.qemu-abcd-{os.getpid()}", *BUILT}


def test_a_result_goes_all_at_once(quiet, full, monkeypatch):
    def interrupted(path, **_):
        raise KeyboardInterrupt

    with ExitStack() as killed:
        killed.enter_context(pytest.raises(KeyboardInterrupt))
        patch = killed.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(shutil, "rmtree", interrupted)
        patch.setattr(os, "getpid", lambda: GONE)
        clean(quiet, everything=False)
    assert len([*(quiet.cache / "runs").glob(".*")]) == 1
    clean(quiet, everything=False)
    assert full() == set(FOUND)


def test_nothing_of_a_checkout_is_lost_with_the_repositories(edited, source, patches, quiet):
    commit(edited, "mine", src_main_c=("line 1\n", "one\n"))
    before = git("log", "-p", cwd=edited)
    clean(quiet, everything=True)
    with pytest.raises(subprocess.CalledProcessError):
        git("log", "-p", cwd=edited)
    apply(import_base(source, quiet), load_series(patches), quiet)
    assert git("log", "-p", cwd=edited) == before
