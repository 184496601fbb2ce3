# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's own KVM selftests, of the tree with the series applied, static: they run in L0 alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

import pygit2

from dvhbuild.errors import UserError
from dvhbuild.process import run
from dvhbuild.recipes.common import Work, ccache_environment, jobs, recipe_digest, toolchain, work_area
from dvhbuild.series import Applied
from dvhbuild.settings import Settings
from dvhbuild.steps import step

DIRECTORY = "tools/testing/selftests/kvm"
PARTS = (
    *("Makefile", "arch/x86/Makefile", "arch/x86/entry/syscalls", "arch/x86/include", "arch/x86/tools"),
    *("include", "scripts", "tools", "usr"),
)
"""What of a tree the selftests are built from, with nothing else there: an edit of KVM itself builds none again."""

LIBRARY = "libc.a"

BINARIES = "selftests"
"""Where in the build directory the programs and their objects are."""

_PROGRAM = re.compile(r"^TEST_GEN_PROGS_x86(?:_64)?\s*\+?=\s*(\S+)\s*$", re.MULTILINE)


def programs(makefile: str, patterns: Iterable[str]) -> tuple[str, ...]:
    """The x86 programs that the selftests' `makefile` builds and whose file names match one of `patterns`.

    Raises UserError for a pattern without a match.
    """
    known = _PROGRAM.findall(makefile)
    found: dict[str, None] = {}
    for pattern in patterns:
        matching = [name for name in known if fnmatchcase(PurePosixPath(name).name, pattern)]
        if not matching:
            raise UserError(f"{pattern}: no selftest in {DIRECTORY}/Makefile is called so")
        found |= dict.fromkeys(matching)
    return tuple(sorted(found))


def graft(repository: pygit2.Repository, tree: pygit2.Tree, parts: Iterable[str]) -> pygit2.Oid:
    """Make a tree of nothing but `parts` (paths) of `tree`; return its id. Raises UserError if one is not there."""
    below: dict[str, list[str]] = {}
    for part in parts:
        name, _, rest = part.partition("/")
        below.setdefault(name, []).append(rest)
    builder = repository.TreeBuilder()
    for name, rests in below.items():
        if name not in tree:
            raise UserError(f"{name}: not in this tree, and the selftests need it")
        entry = tree[name]
        if isinstance(entry, pygit2.Tree) and "" not in rests:
            builder.insert(name, graft(repository, entry, rests), entry.filemode)
        else:
            builder.insert(name, entry.id, entry.filemode)
    return builder.write()


def make(work: Work, settings: Settings, wanted: Iterable[str]) -> tuple[Path, ...]:
    """Build the programs `wanted` below `work.build`, with the tree's own headers; raises HostError if that fails."""
    common: list[str | Path] = ["make", "-s", jobs(), "ARCH=x86", "CC=ccache gcc"]
    # Paths relative to the cache would get into the objects' .d files, where make knows none of its targets by them.
    env = {**ccache_environment(settings), "CCACHE_BASEDIR": ""}
    binaries = work.build / BINARIES
    flags = (f"KHDR_INCLUDES=-isystem {work.build}/usr/include", "LDFLAGS=-static -pthread")
    headers = [*common, "-C", work.tree, f"O={work.build}", "HOSTCC=ccache gcc", "headers"]
    run(headers, reporter=settings.reporter, log=work.log, env=env)
    binaries.mkdir(exist_ok=True)
    targets = tuple(binaries / name for name in wanted)
    tests = [*common, "-C", work.tree / DIRECTORY, f"OUTPUT={binaries}", *flags, *targets]
    run(tests, reporter=settings.reporter, log=work.log, env=env)
    return targets


@dataclass(frozen=True)
class SelftestsRecipe:
    """Those of which the name matches one of `patterns` (the shell's)."""

    source: Applied
    patterns: tuple[str, ...]
    name: str = "selftests"

    def inputs(self) -> Mapping[str, str]:
        return {
            "source": self._part().commit,
            "patterns": " ".join(self.patterns),
            **toolchain(LIBRARY),
            "recipe": recipe_digest(__file__),
        }

    def build(self, out: Path, settings: Settings) -> None:
        """Make `out`/bin with the programs."""
        with work_area(self.name, self._part(), settings, LIBRARY) as work:
            wanted = programs((work.tree / DIRECTORY / "Makefile").read_text(), self.patterns)
            with step(settings.reporter, "build the selftests", work.log):
                made = make(work, settings, wanted)
            (out / "bin").mkdir()
            for path in made:
                run(["strip", "-o", out / "bin" / path.name, path], reporter=settings.reporter, log=work.log)

    def _part(self) -> Applied:
        """The source, with nothing in it but PARTS; in place of a commit, a tree."""
        repository = pygit2.Repository(str(self.source.repo))
        tree = repository[self.source.commit].peel(pygit2.Tree)
        return replace(self.source, commit=str(graft(repository, tree, PARTS)))
