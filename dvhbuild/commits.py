# SPDX-License-Identifier: GPL-2.0-or-later
"""Patches to commits: a series applied to an imported base, in git's object store alone."""

from __future__ import annotations

import fnmatch
import re
import tempfile
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import pygit2

from dvhbuild.errors import HostError, UserError
from dvhbuild.locks import locked
from dvhbuild.patchfiles import PatchMail, Series, failed_hunk, parse_mail
from dvhbuild.process import run
from dvhbuild.repository import ENVIRONMENT, Applied, Imported, git
from dvhbuild.settings import Settings
from dvhbuild.steps import step

_FAILED = re.compile(r"^error: patch failed: (?P<file>.+):(?P<line>\d+)$", re.MULTILINE)


def apply(imported: Imported, series: Series, settings: Settings) -> Applied:
    """The commits that `series` makes on `imported`; the same inputs always make the same ids.

    Author, date and message are the mail's, the tree is what `git am` would make of it. Raises UserError if the series
    is for other versions, or a patch, of which it names file and hunk, does not apply; nothing is changed then. A
    checkout of the series that the user named as his tree is taken as it is.
    """
    if not fnmatch.fnmatchcase(imported.version, series.applies_to):
        raise UserError(
            f"{series.file}: applies to {series.applies_to}, but {imported.name} is {imported.version}",
            remedy="use a base of that version, or rework the series and its first line",
        )
    if imported.patched:
        settings.reporter.remark(f"{imported.name}: your checkout of the series is built as it is")
        return Applied(imported.repo, imported.commit, imported.commit, imported.tree, ())
    repo = pygit2.Repository(str(imported.repo))
    ref = f"refs/applied/{imported.commit[:16]}-{series.digest[:16]}"
    with locked(settings, f"git-{imported.repo.stem}"):
        if ref not in repo.references:
            title = f"apply {len(series.names)} patches to {imported.name} {imported.version}"
            with step(settings.reporter, title, settings.logs / f"apply-{imported.name}.log") as current:
                tip = imported.commit
                with closing(_commits(imported, series, settings)) as commits:
                    for name, tip in commits:  # noqa: B007 (the last one counts)
                        settings.reporter.advanced(current, name)
            repo.references.create(ref, pygit2.Oid(hex=tip))
        head = repo.references[ref].peel(pygit2.Commit)
    ids = [str(commit.id) for commit in repo.walk(head.id) if str(commit.id) != imported.commit]
    patches = tuple(zip(series.names, reversed(ids), strict=True))
    return Applied(imported.repo, imported.commit, str(head.id), str(head.tree_id), patches, series.digest)


def _commits(imported: Imported, series: Series, settings: Settings) -> Generator[tuple[str, str], None, None]:
    """Commit each patch of `series`, using an index of our own and no working tree."""
    log = settings.logs / f"apply-{imported.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    repo = pygit2.Repository(str(imported.repo))
    tip = pygit2.Oid(hex=imported.commit)
    with tempfile.TemporaryDirectory(dir=imported.repo) as scratch:
        env = {"GIT_DIR": str(imported.repo), "GIT_INDEX_FILE": str(Path(scratch, "index"))}
        git(settings.reporter, "read-tree", imported.tree, env=env)
        for name in series.names:
            path = series.directory / name
            mail = parse_mail(path.read_bytes(), str(path))
            diff = Path(scratch, "diff")
            diff.write_bytes(mail.diff)
            log.write_bytes(b"")
            try:
                argv = ("git", "apply", "--cached", "--whitespace=nowarn", diff)
                run(argv, reporter=settings.reporter, log=log, env={**ENVIRONMENT, **env})
            except HostError as error:
                raise _does_not_apply(path, mail, imported, log) from error
            tree = git(settings.reporter, "write-tree", env=env)
            who = pygit2.Signature(mail.author, mail.email, mail.time, mail.offset)
            tip = repo.create_commit(None, who, who, mail.message, pygit2.Oid(hex=tree), [tip])
            yield name, str(tip)


def _does_not_apply(path: Path, mail: PatchMail, imported: Imported, log: Path) -> UserError:
    said = log.read_text(errors="replace")
    if match := _FAILED.search(said):
        hunk = failed_hunk(mail.diff, match["file"], int(match["line"]))
        what = f"{match['file']}: hunk {hunk or 'at line ' + match['line']}"
    else:
        what = next((line[7:] for line in said.splitlines() if line.startswith("error: ")), "it")
    return UserError(
        f"{path}: {what} does not apply to {imported.name} {imported.version}".replace("does not apply does", "does"),
        remedy=f"rework {path.name} for this version, or use another version of {imported.name}",
        log=log,
    )
