# SPDX-License-Identifier: GPL-2.0-or-later
"""What gives the disk back: it removes what is in the cache, but for what another dvhbuild is at work on."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dvhbuild.locks import free
from dvhbuild.settings import Settings

AREAS = ("runs", "store", "work")
"""Directories of parts that are had each by itself."""

BUILT = ("logs", "ccache")
FOUND = ("results", "downloads", "git", "bases", "apt", "apt-own")
"""What has no lock of its own, or more than one: it stays as long as anything does."""

_SHARED = ("git-*", "base-*", "apt", "packages")
"""The locks of those who get sources, and make commits of them."""


@dataclass(frozen=True)
class Cleaned:
    """What is gone, and what was left, as another dvhbuild has it."""

    removed: list[Path] = field(default_factory=list)
    left: list[Path] = field(default_factory=list)


def clean(settings: Settings, *, everything: bool) -> Cleaned:
    """Remove what was built; `everything`: also what it was built from, and the results of measurements.

    The files of the locks stay: somebody may be about to take one.
    """
    done = Cleaned()
    for name in AREAS:
        area = settings.cache / name
        if name == "store" and done.left:
            done.left.append(area)  # a machine that runs is followed by others, of any of it
        elif area.is_dir():
            _clean_area(area, settings, done)
    rest = [settings.cache / name for name in BUILT + (FOUND if everything else ())]
    with ExitStack() as ours:
        locks = sorted(path.stem for each in _SHARED for path in (settings.cache / "locks").glob(f"{each}.lock"))
        alone = not done.left and all(ours.enter_context(free(settings, lock)) for lock in locks)
        for path in filter(Path.exists, rest):
            if alone:
                shutil.rmtree(path)
            (done.removed if alone else done.left).append(path)
    return done


def _clean_area(area: Path, settings: Settings, done: Cleaned) -> None:
    left = []
    for part in sorted(area.iterdir()):
        with _held(part, settings) as ours:
            if ours:
                _discard(part)
            else:
                left.append(part)
    if not left:
        area.rmdir()
        done.removed.append(area)
    done.left.extend(left)


@contextmanager
def _held(part: Path, settings: Settings) -> Iterator[bool]:
    """Whether nobody else has `part` of an area, who is kept out as long as the body runs."""
    if part.name.startswith("."):  # in the making, or half removed
        yield not _lives(part.name.rpartition("-")[2])
    elif part.parent.name == "runs":
        yield not _lives(part.name.split("-")[:3][-1])
    else:
        lock = f"work-{part.name}" if part.parent.name == "work" else part.name
        with free(settings, lock) as ours:
            yield ours


def _lives(pid: str) -> bool:
    return Path("/proc", pid).exists()


def _discard(part: Path) -> None:
    """Remove all of `part` at once, as one that is half there would pass for a whole one."""
    aside = part.with_name(f".{part.name}-{os.getpid()}")
    part.rename(aside)
    shutil.rmtree(aside)
