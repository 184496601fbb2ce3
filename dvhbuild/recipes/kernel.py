# SPDX-License-Identifier: GPL-2.0-or-later
"""Linux: one bzImage that serves as L0, L1 and L2.

KVM is built in: a level then needs no module tree in its initrd, and the emulated CPUs load nothing at boot. (`modules`
has it as modules, for who edits it.)
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dvhbuild.errors import UserError
from dvhbuild.process import run
from dvhbuild.recipes.common import Work, ccache_environment, jobs, recipe_digest, takes_plugins, toolchain, work_area
from dvhbuild.series import Applied
from dvhbuild.settings import Settings
from dvhbuild.steps import step
from dvhbuild.store import digest_files

_SYMBOL = re.compile(r"^(?:(CONFIG_\w+)=(.+)|# (CONFIG_\w+) is not set)$")
_REPRODUCIBLE = {
    "KBUILD_BUILD_VERSION": "1",
    "KBUILD_BUILD_TIMESTAMP": "2024-11-17 00:00:00 UTC",
    "KBUILD_BUILD_USER": "dvhbuild",
    "KBUILD_BUILD_HOST": "dvhbuild",
}
_WITHOUT = ("RUSTC=false", "BINDGEN=false", "PAHOLE=false")
"""Tools that the host may have or not, which this kernel has no use for: Kconfig notes the version of each it finds."""

_SHARED = {"CCACHE_IGNOREOPTIONS": "-fmacro-prefix-map=*"}
"""The option has a tree's path, but makes __FILE__ relative: what one tree has compiled is another's as well."""


def symbols(fragment: str) -> dict[str, str]:
    """The symbols that a .config or fragment sets: name -> value, "n" for "is not set"."""
    found = (_SYMBOL.match(line) for line in fragment.splitlines())
    return {m[1] or m[3]: m[2] or "n" for m in found if m}


def check_config(fragments: Mapping[Path, str], config: str) -> None:
    """Raise UserError, naming file and symbol, if what a fragment asks for did not stick in `config`."""
    have = symbols(config)
    for path, text in fragments.items():
        for name, wanted in symbols(text).items():
            if have.get(name, "n") != wanted:
                raise UserError(
                    f"{path}: {name}={wanted} did not stick: the kernel's configuration has {have.get(name, 'n')}",
                    remedy="its dependencies are not met, or this kernel does not know it",
                )


@dataclass(frozen=True)
class KernelRecipe:
    """`fragments` are merged over allnoconfig, in order; each `name` has a tree of its own."""

    source: Applied
    fragments: tuple[Path, ...]
    name: str = "linux"

    def inputs(self) -> Mapping[str, str]:
        return {
            "source": self.source.tree,
            **{f"config {path.name}": digest_files(path) for path in self.fragments},
            **toolchain(),
            "plugins": str(takes_plugins()),  # Kconfig notes it
            "recipe": recipe_digest(__file__),
        }

    def build(self, out: Path, settings: Settings) -> None:
        """Make `out`/bzImage, `out`/vmlinux and `out`/config."""
        with work_area(self.name, self.source, settings) as work:
            self.image(work, settings)
            shutil.copy(work.build / "arch/x86/boot/bzImage", out)
            shutil.copy(work.build / "vmlinux", out)
            shutil.copy(work.build / ".config", out / "config")

    def image(self, work: Work, settings: Settings) -> None:
        """Make bzImage and vmlinux in `work.build`; raises what `configure` and `make` do."""
        self.configure(work, settings)
        with step(settings.reporter, f"build {self.name}", work.log):
            self.make(work, settings, jobs(), "bzImage")

    def configure(self, work: Work, settings: Settings) -> None:
        """Write the .config of `work.build`; raises UserError for what a fragment asks for and Kconfig refuses."""
        texts = {path: path.read_text() for path in self.fragments}
        wanted = work.build / "wanted.config"
        wanted.write_text("".join(texts.values()))
        config = work.build / ".config"
        with step(settings.reporter, "configure Linux", work.log):
            self.make(work, settings, f"KCONFIG_ALLCONFIG={wanted}", "allnoconfig")
        check_config(texts, config.read_text())

    def make(self, work: Work, settings: Settings, *words: str) -> None:
        """Run make with `words` (targets, variables, options) in `work.build`; raises HostError if it fails."""
        argv: list[str | Path] = [
            "make",
            "-s",
            "-C",
            work.tree,
            f"O={work.build}",
            "CC=ccache gcc",
            "HOSTCC=ccache gcc",
            *_WITHOUT,
            *words,
        ]
        env = {**ccache_environment(settings), **_REPRODUCIBLE, **_SHARED}
        run(argv, reporter=settings.reporter, log=work.log, env=env)
