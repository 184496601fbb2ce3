# SPDX-License-Identifier: GPL-2.0-or-later
"""What recipes share: the compiler's identity, ccache, and a private work area that stays between builds."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from dvhbuild.errors import HostError
from dvhbuild.locks import locked
from dvhbuild.series import Applied, update_worktree
from dvhbuild.settings import Settings
from dvhbuild.steps import step
from dvhbuild.store import digest_files


@cache
def compiler(name: str) -> str:
    """The version line of compiler `name`; raises HostError if it is missing."""
    try:
        text = subprocess.run([name, "--version"], capture_output=True, check=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise HostError(f"{name}: not found", remedy="dvhbuild doctor --install") from error
    return text.splitlines()[0]


def recipe_digest(*modules: str) -> str:
    """Digest of a recipe's own source files, given the `__file__` of each."""
    return digest_files(*map(Path, modules))


def jobs() -> str:
    return f"-j{os.cpu_count() or 1}"


def ccache_environment(settings: Settings) -> dict[str, str]:
    """Run ccache below our own cache, with paths relative to it, so that a move of the cache keeps its hits."""
    return {
        "CCACHE_DIR": str(settings.cache / "ccache"),
        "CCACHE_BASEDIR": str(settings.cache),
        "CCACHE_NOHASHDIR": "1",
        "CCACHE_MAXSIZE": "4G",
        "CCACHE_COMPILERCHECK": "content",
    }


@dataclass(frozen=True)
class Work:
    """A component's work area: the `tree` at the wanted commit, a `build` directory beside it, the `log`."""

    tree: Path
    build: Path
    log: Path


def build_log(name: str, settings: Settings) -> Path:
    """The log of the last build in the work area of `name`."""
    return settings.logs / f"build-{name}.log"


@contextmanager
def work_area(name: str, applied: Applied, settings: Settings) -> Iterator[Work]:
    """Hold the work area of `name`, its tree brought to `applied`; one build at a time uses it."""
    area = settings.cache / "work" / name
    log = build_log(name, settings)
    with locked(settings, f"work-{name}"):
        area.mkdir(parents=True, exist_ok=True)
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_bytes(b"")
        with step(settings.reporter, f"check out {name}", log):
            update_worktree(applied, area / "tree")
        (area / "build").mkdir(exist_ok=True)
        yield Work(area / "tree", area / "build", log)
