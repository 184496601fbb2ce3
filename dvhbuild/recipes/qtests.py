# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU for x86 with all of its devices, and its tree's qtests; with `sanitize`, one that looks for its own bugs."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from dvhbuild.errors import HostError, UserError
from dvhbuild.process import output, run
from dvhbuild.recipes.common import ccache_environment, compiler, jobs, recipe_digest, work_area
from dvhbuild.series import Applied
from dvhbuild.settings import Settings
from dvhbuild.steps import step
from dvhbuild.store import digest_files

SUITE = "qemu:qtest-x86_64"
BINARY = "qemu-system-x86_64"
FIRMWARE = "qemu-bundle/usr/local/share/qemu"
"""Where a QEMU looks for firmware, beside itself, before it looks where it would be installed."""
DATA = ("tests/data/acpi/x86", "docs/config")
"""What some of the tests read, below their working directory: ACPI tables to compare with, and configurations."""

_SYSTEM_FIRMWARE = (
    (("bios*.bin", "vgabios*.bin"), ("/usr/share/seabios",)),
    (("efi-*.rom", "pxe-*.rom"), ("/usr/lib/ipxe/qemu", "/usr/share/qemu")),
    (("kvmvapic.bin", "linuxboot*.bin", "multiboot*.bin", "pvh.bin", "qboot.rom"), ("/usr/share/qemu",)),
)
"""What x86 machines and their devices start with, and where Debian has it: seabios; ipxe-qemu, up to Debian 12 and
later; qemu-system-data."""


def names(introspected: str, patterns: Iterable[str]) -> tuple[str, ...]:
    """The x86 qtests that `meson introspect --tests` tells of and whose names match one of `patterns`.

    Raises UserError for a pattern without a match.
    """
    known = [PurePosixPath(test["name"]).name for test in json.loads(introspected) if SUITE in test["suite"]]
    found: dict[str, None] = {}
    for pattern in patterns:
        matching = [name for name in known if fnmatchcase(name, pattern)]
        if not matching:
            raise UserError(f"{pattern}: QEMU has no qtest for x86 that is called so")
        found |= dict.fromkeys(matching)
    return tuple(sorted(found))


def firmware() -> tuple[Path, ...]:
    """The host's firmware for x86 machines; raises HostError if some is missing."""
    found: list[Path] = []
    for patterns, places in _SYSTEM_FIRMWARE:
        for pattern in patterns:
            matching = [path for place in places for path in sorted(Path(place).glob(pattern))]
            if not matching:
                raise HostError(f"{places[0]}/{pattern}: firmware is not installed", remedy="dvhbuild doctor --install")
            found += matching
    return tuple(found)


@dataclass(frozen=True)
class QtestsRecipe:
    """Those of which the name matches one of `patterns` (the shell's); `options` are configure's, one a line."""

    source: Applied
    options: Path
    patterns: tuple[str, ...]
    sanitize: bool = False

    @property
    def name(self) -> str:
        return "qtests-sanitized" if self.sanitize else "qtests"

    def inputs(self) -> Mapping[str, str]:
        return {
            "source": self.source.tree,
            "options": digest_files(self.options),
            "patterns": " ".join(self.patterns),
            "firmware": digest_files(*firmware()),
            "compiler": compiler("gcc"),
            "recipe": recipe_digest(__file__),
        }

    def build(self, out: Path, settings: Settings) -> None:
        """Make `out`/qemu-system-x86_64 with its firmware, `out`/bin with the tests, and their data."""
        with work_area(self.name, self.source, settings) as work:
            env = ccache_environment(settings)
            lines = [line.partition("#")[0].strip() for line in self.options.read_text().splitlines()]
            options = [*filter(None, lines), *(("--enable-asan", "--enable-ubsan") if self.sanitize else ())]
            compilers = ["--cc=ccache gcc", "--host-cc=ccache gcc"]
            with step(settings.reporter, "configure QEMU for its qtests", work.log):
                argv: list[str | Path] = [work.tree / "configure", f"--python={sys.executable}", *compilers, *options]
                run(argv, reporter=settings.reporter, log=work.log, cwd=work.build, env=env)
            introspect: list[str | Path] = [work.build / "pyvenv/bin/meson", "introspect", "--tests"]
            wanted = names(output(introspect, reporter=settings.reporter, cwd=work.build), self.patterns)
            programs = [BINARY, *(f"tests/qtest/{name}" for name in wanted)]
            with step(settings.reporter, "build QEMU and its qtests", work.log):
                run(["ninja", jobs(), *programs], reporter=settings.reporter, log=work.log, cwd=work.build, env=env)
            (out / "bin").mkdir()
            for program in programs:
                target = out / program if program == BINARY else out / "bin" / Path(program).name
                run(["strip", "-o", target, work.build / program], reporter=settings.reporter, log=work.log)
            for part in DATA:
                shutil.copytree(work.tree / part, out / part)
        (out / FIRMWARE).mkdir(parents=True)
        for path in firmware():
            shutil.copy(path, out / FIRMWARE)
