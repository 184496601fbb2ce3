# SPDX-License-Identifier: GPL-2.0-or-later
"""Bochs: the emulated Skylake whose clock counts instructions."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dvhbuild.errors import HostError
from dvhbuild.process import run
from dvhbuild.recipes.common import ccache_environment, compiler, jobs, recipe_digest, work_area
from dvhbuild.series import Applied
from dvhbuild.settings import Settings
from dvhbuild.steps import step
from dvhbuild.store import digest_files

CONFIGURE = (
    "--enable-smp",
    "--enable-cpu-level=6",
    "--enable-x86-64",
    "--enable-vmx=2",
    "--enable-svm",
    "--enable-avx",
    "--enable-evex",
    "--enable-pci",
    "--with-nogui",
    "--enable-all-optimizations",
    "--enable-large-ramfile",
    "--enable-uintr",
    "--disable-plugins",
    "--disable-docbook",
)
FLAGS = "-O3 -g0"
BIOS = (Path("/usr/share/bochs/BIOS-bochs-latest"), Path("/usr/share/vgabios/vgabios.bin"))


@dataclass(frozen=True)
class BochsRecipe:
    """The emulator and its two BIOS images."""

    source: Applied
    name: str = "bochs"

    def inputs(self) -> Mapping[str, str]:
        for path in BIOS:
            if not path.is_file():
                raise HostError(f"{path}: Bochs's BIOS is not installed", remedy="dvhbuild doctor --install")
        return {
            "source": self.source.tree,
            "firmware": digest_files(*BIOS),
            "compiler": compiler("g++"),
            "recipe": recipe_digest(__file__),
        }

    def build(self, out: Path, settings: Settings) -> None:
        """Make `out`/bochs, `out`/bios.bin and `out`/vgabios.bin."""
        with work_area("bochs", self.source, settings) as work:
            compilers = {"CC": "ccache gcc", "CXX": "ccache g++", "CFLAGS": FLAGS, "CXXFLAGS": FLAGS}
            env = {**ccache_environment(settings), **compilers}
            # The makefiles miss dependencies on headers: always from clean, ccache makes that cheap.
            shutil.rmtree(work.build)
            work.build.mkdir()
            with step(settings.reporter, "configure Bochs", work.log):
                argv: list[str | Path] = [work.tree / "configure", *CONFIGURE]
                run(argv, reporter=settings.reporter, log=work.log, cwd=work.build, env=env)
            with step(settings.reporter, "build Bochs", work.log):
                run(["make", jobs()], reporter=settings.reporter, log=work.log, cwd=work.build, env=env)
            strip: list[str | Path] = ["strip", "-o", out / "bochs", work.build / "bochs"]
            run(strip, reporter=settings.reporter, log=work.log)
        for path, name in zip(BIOS, ("bios.bin", "vgabios.bin"), strict=True):
            shutil.copy(path, out / name)
