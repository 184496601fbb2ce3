# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU: one static binary that runs on the host (TCG) as well as inside L0 and L1 (KVM), with its firmware."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dvhbuild.errors import HostError
from dvhbuild.process import run
from dvhbuild.recipes.common import ccache_environment, jobs, recipe_digest, toolchain, work_area
from dvhbuild.series import Applied
from dvhbuild.settings import Settings
from dvhbuild.steps import step
from dvhbuild.store import digest_files

FIRMWARE = ("bios-256k.bin", "kvmvapic.bin", "linuxboot_dma.bin", "pvh.bin", "qboot.rom")
"""What `-kernel` needs on q35, and the BIOS of the probe; Debian's qemu-system-data and seabios bring them."""

LIBRARIES = ("libc.a", "libglib-2.0.a", "libpcre2-8.a", "libz.a", "libfdt.a")
VALGRIND = Path("/usr/include/valgrind/valgrind.h")
"""If it is there, QEMU tells valgrind of each coroutine's stack; configure has no option for that."""

_FIRMWARE_DIRECTORIES = (Path("/usr/share/qemu"), Path("/usr/share/seabios"))


def firmware() -> tuple[Path, ...]:
    """The host's copies of FIRMWARE; raises HostError if one is missing."""
    found = []
    for name in FIRMWARE:
        paths = [directory / name for directory in _FIRMWARE_DIRECTORIES if (directory / name).is_file()]
        if not paths:
            raise HostError(f"{name}: QEMU's firmware is not installed", remedy="dvhbuild doctor --install")
        found.append(paths[0])
    return tuple(found)


@dataclass(frozen=True)
class QemuRecipe:
    """`devices` is the device list (Kconfig), `options` holds configure's options, one a line, # for comments.

    Each `name` has a tree of its own.
    """

    source: Applied
    devices: Path
    options: Path
    name: str = "qemu"

    def inputs(self) -> Mapping[str, str]:
        return {
            "source": self.source.tree,
            "devices": digest_files(self.devices),
            "options": digest_files(self.options),
            "firmware": digest_files(*firmware()),
            "valgrind": digest_files(VALGRIND) if VALGRIND.is_file() else "none",
            **toolchain(*LIBRARIES),
            "recipe": recipe_digest(__file__),
        }

    def build(self, out: Path, settings: Settings) -> None:
        """Make `out`/qemu-system-x86_64 and `out`/firmware."""
        with work_area(self.name, self.source, settings, *LIBRARIES) as work:
            env = ccache_environment(settings)
            shutil.copy(self.devices, work.tree / "configs/devices/x86_64-softmmu/dvh.mak")
            lines = (line.partition("#")[0].strip() for line in self.options.read_text().splitlines())
            compilers = ["--cc=ccache gcc", "--host-cc=ccache gcc"]
            with step(settings.reporter, "configure QEMU", work.log):
                argv: list[str | Path] = [work.tree / "configure", f"--python={sys.executable}", *compilers]
                argv += ["--with-devices-x86_64=dvh", *(line for line in lines if line)]
                run(argv, reporter=settings.reporter, log=work.log, cwd=work.build, env=env)
            with step(settings.reporter, "build QEMU", work.log):
                argv = ["ninja", jobs(), "qemu-system-x86_64"]
                run(argv, reporter=settings.reporter, log=work.log, cwd=work.build, env=env)
            binary = out / "qemu-system-x86_64"
            run(["strip", "-o", binary, work.build / "qemu-system-x86_64"], reporter=settings.reporter, log=work.log)
        (out / "firmware").mkdir()
        for path in firmware():
            shutil.copy(path, out / "firmware")
