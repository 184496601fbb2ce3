# SPDX-License-Identifier: GPL-2.0-or-later
"""busybox: the shell and tools of every Linux level, static."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dvhbuild.process import output, run
from dvhbuild.recipes.common import ccache_environment, jobs, recipe_digest, toolchain, work_area
from dvhbuild.series import Applied
from dvhbuild.settings import Settings
from dvhbuild.steps import step

LIBRARY = "libc.a"


@dataclass(frozen=True)
class BusyboxRecipe:
    """busybox with its default configuration, less `tc`, which does not build with current kernel headers."""

    source: Applied
    name: str = "busybox"

    def inputs(self) -> Mapping[str, str]:
        return {"source": self.source.tree, **toolchain(LIBRARY), "recipe": recipe_digest(__file__)}

    def build(self, out: Path, settings: Settings) -> None:
        """Make `out`/busybox and `out`/applets, a list of its names."""
        with work_area("busybox", self.source, settings, LIBRARY) as work:
            env = ccache_environment(settings)
            make: list[str | Path] = [
                "make",
                "-s",
                "-C",
                work.tree,
                f"O={work.build}",
                "CC=ccache gcc",
                "HOSTCC=ccache gcc",
            ]
            with step(settings.reporter, "build busybox", work.log):
                run([*make, "defconfig"], reporter=settings.reporter, log=work.log, env=env)
                config = work.build / ".config"
                text = config.read_text().replace("# CONFIG_STATIC is not set", "CONFIG_STATIC=y")
                config.write_text(text.replace("CONFIG_TC=y", "# CONFIG_TC is not set"))
                run([*make, jobs(), "busybox"], reporter=settings.reporter, log=work.log, env=env)
            shutil.copy(work.build / "busybox", out)
        applets = output([out / "busybox", "--list"], reporter=settings.reporter)
        (out / "applets").write_text(applets + "\n")
