# SPDX-License-Identifier: GPL-2.0-or-later
"""What recipes share: the tools' identity, ccache, and a private work area that stays between builds."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from dvhbuild.errors import HostError
from dvhbuild.locks import locked
from dvhbuild.process import output
from dvhbuild.series import Applied, update_worktree
from dvhbuild.settings import Settings
from dvhbuild.steps import Silent, step
from dvhbuild.store import digest_files


@cache
def compiler(name: str) -> str:
    """The version line of compiler `name`, the one that builds are run with; raises HostError if it is missing."""
    return output((name, "--version"), reporter=Silent()).splitlines()[0]


def _file_of_gcc(name: str) -> Path:
    return Path(output(("gcc", f"-print-file-name={name}"), reporter=Silent()))


@cache
def takes_plugins() -> bool:
    """Whether the headers for plugins of gcc are installed."""
    return (_file_of_gcc("plugin") / "include/plugin-version.h").is_file()


@cache
def _library(name: str) -> str:
    """Digest of the host's static library `name`; raises HostError if it is missing."""
    path = _file_of_gcc(name)
    if not path.is_file():
        raise HostError(f"{name}: not installed", remedy="dvhbuild doctor --install")
    return digest_files(path)


def toolchain(*libraries: str) -> dict[str, str]:
    """What compiles and links, and the static `libraries` ("libc.a") that become part of what is built, as inputs."""
    return {"compiler": compiler("gcc"), "linker": compiler("ld"), **{name: _library(name) for name in libraries}}


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
def work_area(name: str, applied: Applied, settings: Settings, *libraries: str) -> Iterator[Work]:
    """Hold the work area of `name`, its tree brought to `applied`; one build at a time uses it.

    What was built there is gone if it was built with another `toolchain`: make and ninja know of no such difference.
    """
    area = settings.cache / "work" / name
    log = build_log(name, settings)
    with locked(settings, f"work-{name}"):
        area.mkdir(parents=True, exist_ok=True)
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_bytes(b"")
        with step(settings.reporter, f"check out {name}", log):
            update_worktree(applied, area / "tree")
        _forget(area, json.dumps(toolchain(*libraries), indent=2) + "\n")
        (area / "build").mkdir(exist_ok=True)
        yield Work(area / "tree", area / "build", log)


def _forget(area: Path, tools: str) -> None:
    """Remove what was built in `area` with other tools than `tools`."""
    stamp = area / "toolchain.json"
    if not stamp.is_file() or stamp.read_text() != tools:
        for build in area.glob("build*"):
            shutil.rmtree(build)
        stamp.write_text(tools)
