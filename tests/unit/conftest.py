# SPDX-License-Identifier: GPL-2.0-or-later
"""Every test is alone: a home of its own, none of the variables that steer dvhbuild or git, a terminal, and Ctrl-C."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import minitree
import pytest
from minitree import FILES, git

from dvhbuild.series import apply, checkout, import_base, load_series
from dvhbuild.settings import Settings
from dvhbuild.steps import Silent, Step


@pytest.fixture(autouse=True)
def _alone(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path_factory.mktemp("home")
    for name in list(os.environ):
        if name.startswith(("DVHBUILD_", "GIT_", "XDG_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    for name in ("COLUMNS", "LINES"):  # what readline, when pytest imports it, adds to the environment of its workers
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored, where we run in the background
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored, below nohup
    for name in ("CACHE", "CONFIG", "DATA", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(home / name.lower()))


class Heard(Silent):
    """A reporter that remembers."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.remarks: list[str] = []
        self.commands: list[tuple[str, ...]] = []

    def started(self, step: Step) -> None:
        self.steps.append(step.title)

    def command(self, argv: tuple[str, ...], cwd: Path | None) -> None:
        self.commands.append(argv)

    def remark(self, text: str) -> None:
        self.remarks.append(text)


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def quiet(tmp_path: Path, heard: Heard) -> Settings:
    """Settings with a cache of the test's own and a reporter that remembers."""
    (tmp_path / "cache").mkdir()
    return Settings(root=tmp_path, cache=tmp_path / "cache", reporter=heard)


@pytest.fixture
def source(tmp_path):
    return minitree.source_of(minitree.tarball(tmp_path / "tiny-1.2.3.tar.xz"))


@pytest.fixture
def imported(source, quiet):
    return import_base(source, quiet)


@pytest.fixture
def upstream(tmp_path):
    """What upstream's git tree would be: the same files, to make patches on."""
    tree = tmp_path / "upstream"
    for name, text in FILES.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    (tree / "tools/run").chmod(0o755)
    git("init", "-q", "-b", "main", cwd=tree)
    git("add", "-A", cwd=tree)
    git("commit", "-qm", "tiny", cwd=tree)
    return tree


@pytest.fixture
def patches(upstream, tmp_path):
    """Three patches: an edit, a new file with a long subject and no body, and an edit that removes a file."""
    minitree.commit(
        upstream,
        "Édit: line five\n\nBecause of ünïcode.\n\n  indented\n\nTested: no",
        src_main_c=("line 5\n", "five\n"),
    )
    minitree.commit(
        upstream,
        "add a file whose subject is so long that the header of its mail must be folded twice, or once",
        new_file_c="x\n",
    )
    minitree.commit(upstream, "edit two\n\nbody", src_main_c=("line 30\n", "thirty\n"), src_other_c=None)
    return minitree.write_series(upstream, tmp_path / "patches")


@pytest.fixture
def edited(imported, patches, quiet, tmp_path):
    """A checkout of the three patches."""
    directory = tmp_path / "edit"
    checkout(apply(imported, load_series(patches), quiet), directory, quiet)
    return directory
