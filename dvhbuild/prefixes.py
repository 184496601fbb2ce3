# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether Linux builds as of each patch of its series, without a warning that was not there before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from dvhbuild import diagnostics
from dvhbuild.diagnostics import Warned
from dvhbuild.errors import HostError
from dvhbuild.patchlint import Finding
from dvhbuild.recipes import selftests
from dvhbuild.recipes.common import Work, jobs, work_area
from dvhbuild.recipes.kernel import KernelRecipe
from dvhbuild.repository import Applied, git, update_worktree
from dvhbuild.series import Series
from dvhbuild.settings import Settings
from dvhbuild.steps import step

AREA = "linux-prefixes"
"""A work area of its own: going through the patches would let the ordinary build begin anew."""

_SYNC = "--output-sync=target"
_STRICT = ("W=1", "C=1")
"""gcc's and kernel-doc's further warnings, and sparse."""


def check_prefixes(recipe: KernelRecipe, series: Series, settings: Settings) -> tuple[Finding, ...]:
    """Build the source of `recipe` as of each patch of `series`, and what is wrong with each.

    That is: the kernel or the touched selftests do not build; in a file that the series touches, gcc, kernel-doc or
    sparse warns of what they did not warn of before the series. Only what a patch changes is compiled anew.
    Raises HostError if the base does not build, or it is not the source that fails.
    """
    source = recipe.source
    if not source.patches:
        return ()
    touched = {name: _touched(source, commit, settings) for name, commit in source.patches}
    found: list[Finding] = []
    base = _as_of(source, source.base_commit)
    with work_area(AREA, base, settings) as work:
        prefixes = _Prefixes(recipe, work, settings, frozenset[str]().union(*touched.values()))
        prefixes.begin()
        for number, (name, commit) in enumerate(source.patches, 1):
            with step(settings.reporter, f"build as of patch {number} of {len(touched)}, {name}", work.log):
                update_worktree(_as_of(source, commit), work.tree)
                wrong = prefixes.wrong(touched[name])
            found += [Finding(series.directory / name, None, text) for text in wrong]
    return tuple(found)


def _as_of(source: Applied, commit: str) -> Applied:
    return replace(source, commit=commit)


def _touched(source: Applied, commit: str, settings: Settings) -> frozenset[str]:
    """The files that `commit` adds, changes or removes."""
    argv = ("diff-tree", "-r", "-z", "--no-commit-id", "--name-only", "--no-renames", commit)
    names = git(settings.reporter, *argv, env={"GIT_DIR": str(source.repo)})
    return frozenset(name for name in names.split("\0") if name)


class _BrokenError(Exception):
    """The source does not build; the message is the compiler's."""


@dataclass
class _Prefixes:
    """One pass through a series; `touched` are all the files that it touches, `known` the warnings so far."""

    recipe: KernelRecipe
    work: Work
    settings: Settings
    touched: frozenset[str]
    known: list[Warned] = field(default_factory=list)

    def begin(self) -> None:
        """Build the base, and take note of the warnings in its files that the series touches."""
        for work in (self.work, self._strict):
            work.build.mkdir(exist_ok=True)
            self.recipe.configure(work, self.settings)
        self._selftests.build.mkdir(exist_ok=True)
        try:
            with step(self.settings.reporter, "build as of no patch", self.work.log):
                self._make_kernel()
                for name in self._objects():
                    (self._strict.build / name).unlink(missing_ok=True)
                for name in self._of_selftests(self.touched, ".c"):
                    (self._selftests.build / selftests.BINARIES / name).with_suffix(".o").unlink(missing_ok=True)
                self.known = [*self._make_strict(), *self._make_selftests(self.touched)]
        except _BrokenError as error:
            raise HostError(f"without the series, linux does not build: {error}", log=self.work.log) from error

    def wrong(self, touched: frozenset[str]) -> list[str]:
        """What is wrong with the tree as it is now, after a patch that touched `touched`."""
        wrong, warned = [], []
        try:
            warned += self._make_kernel()
            warned += self._make_strict()
            self._tell_of_what_is_not_built(touched)
        except _BrokenError as error:
            wrong.append(f"the kernel does not build: {error}")
        try:
            warned += self._make_selftests(touched)
        except _BrokenError as error:
            wrong.append(f"the selftests do not build: {error}")
        fresh = diagnostics.new(dict.fromkeys(warned), self.known)
        self.known += fresh
        return [*wrong, *(f"new: {one}" for one in fresh)]

    @property
    def _strict(self) -> Work:
        """Where touched files are compiled once more, with all warnings."""
        return replace(self.work, build=self.work.build.with_name("build-strict"))

    @property
    def _selftests(self) -> Work:
        return replace(self.work, build=self.work.build.with_name("build-selftests"))

    def _make_kernel(self) -> list[Warned]:
        return self._built(lambda: self.recipe.make(self.work, self.settings, jobs(), _SYNC, "vmlinux"))

    def _make_strict(self) -> list[Warned]:
        words = (jobs(), _SYNC, *_STRICT)
        objects = self._objects()
        return self._built(lambda: self.recipe.make(self._strict, self.settings, *words, *objects)) if objects else []

    def _make_selftests(self, touched: frozenset[str]) -> list[Warned]:
        """Build the selftests that `touched` are the sources of, or all, if there are other files among them."""
        names = self._of_selftests(touched, "")
        if not names:
            return []
        programs = selftests.programs((self.work.tree / selftests.DIRECTORY / "Makefile").read_text(), ("*",))
        wanted = [name for name in programs if f"{name}.c" in names]
        if not wanted or names - {f"{name}.c" for name in wanted} - {"Makefile"}:
            wanted = list(programs)
        return self._built(lambda: selftests.make(self._selftests, self.settings, wanted), selftests.DIRECTORY)

    def _of_selftests(self, touched: frozenset[str], suffix: str) -> frozenset[str]:
        top = f"{selftests.DIRECTORY}/"
        names = (name.removeprefix(top) for name in touched if name.startswith(top))
        return frozenset(name for name in names if name.endswith(suffix))

    def _objects(self) -> list[str]:
        """The objects of touched files that the kernel has just been built of."""
        sources = sorted(name for name in self.touched if name.endswith(".c") and (self.work.tree / name).is_file())
        objects = [f"{name.removesuffix('.c')}.o" for name in sources]
        return [name for name in objects if (self.work.build / name).is_file()]

    def _tell_of_what_is_not_built(self, touched: frozenset[str]) -> None:
        for name in sorted(touched):
            built = self.work.build / f"{name.removesuffix('.c')}.o"
            if name.endswith(".c") and not name.startswith("tools/") and not built.is_file():
                self.settings.reporter.remark(f"{name}: not compiled, our configuration does not have it")

    def _built(self, build: Callable[[], object], below: str = "") -> list[Warned]:
        """The warnings in touched files that `build` brings; raises _BrokenError if the source makes it fail."""
        roots = (f"{self.work.tree}/", f"../{self.work.tree.name}/")
        begin = self.work.log.stat().st_size
        try:
            build()
        except HostError as error:
            if said := diagnostics.first_error(self._logged(begin), roots):
                raise _BrokenError(said) from error
            raise
        warned = diagnostics.warnings(self._logged(begin), roots, below)
        return [one for one in warned if one.file in self.touched]

    def _logged(self, begin: int) -> str:
        return self.work.log.read_bytes()[begin:].decode(errors="replace")
