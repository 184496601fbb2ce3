# SPDX-License-Identifier: GPL-2.0-or-later
"""Hold a series against the tools of those who would take it: plain `git am`, and their tree's own checkpatch."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dvhbuild.commits import apply
from dvhbuild.errors import HostError, UserError
from dvhbuild.patchfiles import Series
from dvhbuild.process import run, running
from dvhbuild.repository import ENVIRONMENT, Applied, Imported, borrow, git
from dvhbuild.settings import Settings
from dvhbuild.steps import step

CHECKPATCH = Path("scripts/checkpatch.pl")

_OPTIONS = ("--strict", "--terse", "--no-summary", "--no-signoff")
"""Without a look for Signed-off-by: whoever sends a patch signs it."""

_SAID = re.compile(r"(?P<path>.+?):(?:(?P<line>\d+):)? (?P<text>(?:ERROR|WARNING|CHECK): .+)")
_QUESTIONS = ("does MAINTAINERS need updating?", "are you using scripts/update-linux-headers.sh?")
"""What checkpatch asks of every new file, and QEMU's of every change of Linux's headers, whatever the answer is."""

_NEEDED = ("scripts", "include")
"""What checkpatch looks into; of the other directories it wants to see that they are there."""

_COMMIT = "%an%x00%ae%x00%at%x00%T%x00%B%x01"
_COMMITTER = {"GIT_COMMITTER_NAME": "dvhbuild", "GIT_COMMITTER_EMAIL": "dvhbuild@localhost"}


@dataclass(frozen=True)
class Finding:
    """What is wrong with a patch, at a line of its file or as a whole."""

    path: Path
    line: int | None
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}" if self.line else f"{self.path}: {self.text}"


@dataclass(frozen=True)
class Report:
    """What was done with a series, and all that was found."""

    base: str
    patches: int
    checks: tuple[str, ...]
    findings: tuple[Finding, ...]


def check(imported: Imported, series: Series, settings: Settings) -> Report:
    """Apply `series` with `git am` to a clean tree, which is gone afterwards, and run that tree's checkpatch, if any.

    Raises UserError for a patch that does not apply, or of which `git am` makes another commit than we do.
    """
    applied = apply(imported, series, settings)
    base = f"{imported.name} {imported.version}"
    paths = [series.directory / name for name in series.names]
    if not paths:
        return Report(base, 0, (), ())
    with (
        step(settings.reporter, f"check {len(paths)} patches of {base}"),
        tempfile.TemporaryDirectory(dir=settings.cache) as scratch,
    ):
        tree = Path(scratch, "tree")
        _clean_tree(applied, tree, settings)
        _am(applied, paths, tree, settings)
        if not (tree / CHECKPATCH).is_file():
            return Report(base, len(paths), ("git am",), ())
        return Report(base, len(paths), ("git am", "checkpatch"), _checkpatch(paths, tree, settings))


def _clean_tree(applied: Applied, tree: Path, settings: Settings) -> None:
    """A git repository at the base, of whose files only those are on disk that are near the touched ones or needed."""
    touched = git(
        settings.reporter,
        *("log", "-z", "--format=", "--name-only", "--no-renames", f"{applied.base_commit}..{applied.commit}"),
        env={"GIT_DIR": str(applied.repo)},
    )
    near = {str(Path(name).parent) for name in touched.split("\0") if name}
    borrow(applied.repo, tree, settings.reporter)
    git(settings.reporter, "sparse-checkout", "set", "--cone", *sorted({*near, *_NEEDED} - {"."}), cwd=tree)
    git(settings.reporter, "checkout", "-q", "--detach", applied.base_commit, cwd=tree)
    directories = git(settings.reporter, "ls-tree", "-d", "-z", "--name-only", applied.base_commit, cwd=tree)
    for name in directories.split("\0"):
        (tree / name).mkdir(exist_ok=True)


def _am(applied: Applied, paths: Sequence[Path], tree: Path, settings: Settings) -> None:
    log = settings.logs / f"am-{applied.repo.stem}.log"
    log.unlink(missing_ok=True)
    span = f"{applied.base_commit}..HEAD"
    try:
        argv: list[str | Path] = ["git", "am", "-q", *paths]
        run(argv, reporter=settings.reporter, log=log, cwd=tree, env={**ENVIRONMENT, **_COMMITTER})
    except HostError as error:
        failed = paths[int(git(settings.reporter, "rev-list", "--count", span, cwd=tree))]
        raise UserError(
            f"{failed}: git am: {_first_error(log)}", remedy="write patches with dvhbuild series export", log=log
        ) from error
    ours = _commits(f"{applied.base_commit}..{applied.commit}", tree, settings)
    for path, theirs, our in zip(paths, _commits(span, tree, settings), ours, strict=True):
        if theirs != our:
            raise UserError(
                f"{path}: git am makes another commit of it than dvhbuild does: "
                f"{next(repr(one) for one, other in zip(theirs, our, strict=True) if one != other)}",
                remedy="write patches with dvhbuild series export",
            )


def _first_error(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    return next((line[7:] for line in lines if line.startswith(("error: ", "fatal: "))), "it does not apply")


def _commits(span: str, tree: Path, settings: Settings) -> list[list[str]]:
    """Author, address, time, tree and message of each commit, in order."""
    text = git(settings.reporter, "log", "--reverse", f"--format={_COMMIT}", span, cwd=tree)
    return [commit.lstrip("\n").split("\0") for commit in text.split("\1") if commit.strip()]


def _checkpatch(paths: Sequence[Path], tree: Path, settings: Settings) -> tuple[Finding, ...]:
    """What the checkpatch of `tree` says of the patches; raises HostError if it does not do its work.

    It gets a GIT_DIR that does not exist, so that it takes our one root commit for no history and does not look up in
    it what patches say about commits of upstream.
    """
    argv: list[str | Path] = ["perl", CHECKPATCH, *_OPTIONS, *paths]
    env = {"GIT_DIR": "/nonexistent"}
    pipe = subprocess.PIPE
    with running(argv, reporter=settings.reporter, cwd=tree, env=env, stdout=pipe, stderr=pipe) as process:
        out, err = (text.decode(errors="replace") for text in process.communicate())
    said = [match for line in out.splitlines() if (match := _SAID.fullmatch(line))]
    if process.returncode not in (0, 1) or (process.returncode and not said):
        last = (err or out).strip().splitlines()[-1:] or ["no message"]
        raise HostError(f"{CHECKPATCH} failed ({process.returncode}): {last[0]}", remedy="is perl installed whole?")
    found = (
        Finding(Path(match["path"]), int(match["line"]) if match["line"] else None, match["text"]) for match in said
    )
    return tuple(finding for finding in found if not any(question in finding.text for question in _QUESTIONS))
