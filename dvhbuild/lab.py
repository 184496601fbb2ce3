# SPDX-License-Identifier: GPL-2.0-or-later
"""A stack brought up to a level: from a saved state if there is one, and saved on the way if there was none."""

from __future__ import annotations

import itertools
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from dvhbuild.build import Builder
from dvhbuild.image import MODULES
from dvhbuild.locks import locked
from dvhbuild.machine import bochs, tcg
from dvhbuild.machine.bochs import BochsParts
from dvhbuild.machine.tcg import TcgParts
from dvhbuild.nest import Nest
from dvhbuild.settings import ROOT, Settings
from dvhbuild.stack import Stack
from dvhbuild.steps import step
from dvhbuild.store import Entry, Recipe, digest_files, digest_text

STATE_DAYS = 14.0
STATE_BYTES = 7 << 30
"""How long saved states are kept unused, and how much they may take together: those of the matrix are 6 GiB."""

RUNS_KEPT = 20

_MODULES = ("machine", "nest.py", "guests.py", "frames.py", "channel.py", "uplink.py", "agent.py")
"""What of this package a saved state depends on: how machine and levels are started, how agents are spoken to."""


def run_directory(settings: Settings, name: str) -> Path:
    """A new directory for the logs of one run; the oldest of many are removed."""
    root = settings.cache / "runs"
    root.mkdir(parents=True, exist_ok=True)
    stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}-{name}"
    with locked(settings, "runs"):
        for old in sorted(root.iterdir(), key=lambda path: path.stat().st_mtime)[:-RUNS_KEPT]:
            if not Path("/proc", old.name.split("-")[2]).exists():
                shutil.rmtree(old, ignore_errors=True)
        names = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
        directory = next(path for path in map(root.joinpath, names) if not path.exists())
        directory.mkdir()
    return directory


@dataclass(frozen=True)
class StateRecipe:
    """The machine of `stack` at the prompt of `level`, made by booting on from the level below.

    `disk` holds its files.img, those of the levels' own if that is None. If the builder's Linux is modular, KVM is not
    loaded yet, and the disk for its modules is blank: a machine that is restored finds the builder's there.
    """

    builder: Builder
    stack: Stack
    level: int
    disk: Entry | None = None

    @property
    def name(self) -> str:
        return f"state-l{self.level}"

    def inputs(self) -> Mapping[str, str]:
        builder = self.builder.of(self.stack)
        blank = {"modules": builder.modules_disk(blank=True).digest} if builder.modular else {}
        return {
            **blank,
            "bochs": builder.entry("bochs").digest,
            "cd": builder.cd(self.stack).digest,
            "files": (self.disk or builder.artifacts.files).digest,
            "stack": digest_text(self.stack.essence(self.level)),
            "place": str(builder.settings.cache),
            "recipe": digest_files(*(ROOT / "dvhbuild" / name for name in _MODULES)),
        }

    def build(self, out: Path, settings: Settings) -> None:
        """Make `out`/machine."""
        state = None
        if self.level:
            state = replace(self, level=self.level - 1)
        directory = run_directory(settings, self.name)
        builder = self.builder.of(self.stack)
        blank = builder.modules_disk(blank=True) if builder.modular else None
        with _nest(builder, self.stack, directory, state, self.disk, blank) as nest:
            nest.boot(self.level)
            with step(settings.reporter, f"save the machine at L{self.level}'s prompt"):
                nest.save(out / "machine")


@contextmanager
def bring_up(
    builder: Builder, stack: Stack, level: int, directory: Path, *, fresh: bool = False, disk: Entry | None = None
) -> Iterator[Nest]:
    """The levels of `stack` up to `level`, for as long as the body runs; with `fresh`, booted in any case.

    Each level is saved at its prompt, booted on from the one below. With `disk`, /dvh is its files.img: levels above
    L0 need what is on the usual one. L0 has the modules of a modular Linux on its second disk.
    """
    builder = builder.of(stack)
    if stack.machine == "tcg":
        with _tcg_nest(builder, stack, directory) as nest:
            nest.boot(level)
            yield nest
        return
    modules = builder.modules_disk() if builder.modular else None
    if fresh:
        with _nest(builder, stack, directory, None, disk, modules) as nest:
            nest.boot(level)
            yield nest
        return
    with _nest(builder, stack, directory, StateRecipe(builder, stack, level, disk), disk, modules) as nest:
        builder.store.prune("state-", max_days=STATE_DAYS, max_bytes=STATE_BYTES)
        yield nest


@contextmanager
def _tcg_nest(builder: Builder, stack: Stack, directory: Path) -> Iterator[Nest]:
    """A machine on TCG, which has no levels yet."""
    artifacts = builder.artifacts
    kernel, initrd = artifacts.linux.path / "bzImage", artifacts.initrd.path / "initrd.cpio"
    qemu, files = artifacts.qemu.path, artifacts.files.path / "files.img"
    parts = TcgParts(qemu / "qemu-system-x86_64", qemu / "firmware", kernel, initrd, files)
    with tcg.start(parts, stack.levels[0], directory, builder.settings) as machine:
        yield Nest(machine, stack, builder.settings)


@contextmanager
def _nest(
    builder: Builder,
    stack: Stack,
    directory: Path,
    state: Recipe | None,
    disk: Entry | None,
    modules: Entry | None = None,
) -> Iterator[Nest]:
    """A machine, booted or restored, and the levels that it has from the start; `state` is kept until they answer."""
    cd = builder.cd(stack).path / "l0.iso"
    files = (disk or builder.artifacts.files).path / "files.img"
    more = modules.path / MODULES if modules else None
    parts = BochsParts(builder.entry("bochs").path, cd, files, more)
    with ExitStack() as used:
        saved = used.enter_context(builder.store.use(state)).path / "machine" if state else None
        with bochs.start(parts, stack.levels[0], directory, builder.settings, saved) as machine:
            nest = Nest(machine, stack, builder.settings)
            if saved:
                with step(builder.settings.reporter, "restore the machine"):
                    nest.resume(saved)
            used.close()
            yield nest
