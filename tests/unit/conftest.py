# SPDX-License-Identifier: GPL-2.0-or-later
"""Every test is alone: a home of its own, and none of the variables that steer dvhbuild or git."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dvhbuild.settings import Settings
from dvhbuild.steps import Silent, Step


@pytest.fixture(autouse=True)
def _alone(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path_factory.mktemp("home")
    for name in list(os.environ):
        if name.startswith(("DVHBUILD_", "GIT_", "XDG_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
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
