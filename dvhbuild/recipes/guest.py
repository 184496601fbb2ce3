# SPDX-License-Identifier: GPL-2.0-or-later
"""Our own C that runs in guests: the agent, the tools and the probe, built by meson."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dvhbuild.process import run
from dvhbuild.recipes.common import recipe_digest, toolchain
from dvhbuild.settings import Settings
from dvhbuild.steps import step
from dvhbuild.store import digest_files


@dataclass(frozen=True)
class GuestRecipe:
    """`source` is the directory that holds meson.build."""

    source: Path
    name: str = "guest"

    def inputs(self) -> Mapping[str, str]:
        return {"source": digest_files(self.source), **toolchain("libc.a"), "recipe": recipe_digest(__file__)}

    def build(self, out: Path, settings: Settings) -> None:
        """Make `out`/bin and `out`/lib with everything that meson installs."""
        log = settings.logs / "build-guest.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_bytes(b"")
        build = out / "build"
        meson = [sys.executable, "-m", "mesonbuild.mesonmain"]
        with step(settings.reporter, "build what runs in guests", log):
            setup: list[str | Path] = [
                *meson,
                "setup",
                "--prefix=/",
                "--bindir=bin",
                "--buildtype=release",
                build,
                self.source,
            ]
            run(setup, reporter=settings.reporter, log=log, env={"CC": "gcc"})  # meson would take cc, whatever that is
            run([*meson, "install", "-C", build, "--destdir", out], reporter=settings.reporter, log=log)
        shutil.rmtree(build)
