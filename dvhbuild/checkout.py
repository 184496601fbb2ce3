# SPDX-License-Identifier: GPL-2.0-or-later
"""Commits to patches: a git repository to edit a series in, and the export of what was edited."""

from __future__ import annotations

import json
import re
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pygit2

from dvhbuild.commits import apply
from dvhbuild.errors import UserError
from dvhbuild.patchfiles import SERIES, load_series, rewrite_list
from dvhbuild.repository import CHECKOUT, Applied, Imported, borrow, git
from dvhbuild.settings import Settings
from dvhbuild.steps import Reporter, step

BRANCH = "dvh"
"""The branch of a checkout."""

_FORMAT = ("--zero-commit", "--no-signature", "-N", "--abbrev=12", "-q")
"""One format for all patches: nothing in it depends on the machine, the version of git or the place in the series."""

_BLOBS = re.compile(rb"^index [0-9a-f]{7,40}\.\.[0-9a-f]{7,40}", re.MULTILINE)


@dataclass(frozen=True)
class _State:
    """What a checkout was made of, or exported to, last: kept in its .git."""

    name: str
    version: str
    repo: str
    base_commit: str
    base_tree: str
    commit: str
    patches: tuple[tuple[str, str], ...]
    series: str

    @classmethod
    def of(cls, applied: Applied) -> _State:
        base = pygit2.Repository(str(applied.repo))[applied.base_commit].peel(pygit2.Commit)
        name, _, version = base.message.strip().partition(" ")
        ids = (applied.base_commit, str(base.tree_id), applied.commit)
        return cls(name, version, str(applied.repo), *ids, applied.patches, applied.series)

    @classmethod
    def read(cls, directory: Path) -> _State:
        try:
            state = json.loads((directory / ".git" / CHECKOUT).read_text())
            return cls(**{**state, "patches": tuple((name, commit) for name, commit in state["patches"])})
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise UserError(
                f"{directory}: not a checkout of ours", remedy="dvhbuild series checkout makes one"
            ) from error

    def write(self, directory: Path) -> None:
        (directory / ".git" / CHECKOUT).write_text(json.dumps(asdict(self), indent=2) + "\n")

    @property
    def imported(self) -> Imported:
        return Imported(self.name, Path(self.repo), self.base_commit, self.base_tree, self.version)


@dataclass(frozen=True)
class _Patch:
    """A commit as a patch: `old` is the patch that it was before, `edited` whether it differs from that."""

    name: str
    commit: str
    text: bytes
    old: str | None
    edited: bool


@dataclass(frozen=True)
class Status:
    """How a checkout differs from the series that it was made of; patches and files by name."""

    directory: str
    base: str
    version: str
    unchanged: tuple[str, ...]
    edited: tuple[str, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    uncommitted: tuple[str, ...]


def checkout(applied: Applied, directory: Path, settings: Settings) -> None:
    """Make `directory` a git repository with `applied` on branch dvh; commit in it as you like, then `export`.

    It keeps its own objects, so that nothing done in it is lost with the cache; but it borrows those of `applied`, and
    nothing is there to be seen until these have been made again, of the same base and series. An existing checkout is
    brought to `applied`; raises UserError if that would lose uncommitted or unexported work.
    """
    if directory.exists() and any(directory.iterdir()):
        state = _State.read(directory)
        _refuse_uncommitted(directory, settings.reporter)
        if _head(directory) != state.commit:
            raise UserError(
                f"{directory}: has commits that are not exported", remedy="dvhbuild series export, or git reset"
            )
    with step(settings.reporter, f"check out {directory}"):
        borrow(applied.repo, directory, settings.reporter)
        git(settings.reporter, "update-ref", "refs/dvh/base", applied.base_commit, cwd=directory)
        git(settings.reporter, "checkout", "-q", "-B", BRANCH, applied.commit, cwd=directory)
    _State.of(applied).write(directory)


def status(directory: Path, settings: Settings) -> Status:
    """How the checkout `directory` differs from its series; raises UserError if it is no checkout."""
    state = _State.read(directory)
    patches = _patches(directory, state, settings.reporter)
    kept = {patch.old for patch in patches}
    return Status(
        str(directory),
        state.name,
        state.version,
        unchanged=tuple(patch.name for patch in patches if patch.old and not patch.edited),
        edited=tuple(patch.name for patch in patches if patch.old and patch.edited),
        added=tuple(patch.name for patch in patches if not patch.old),
        removed=tuple(name for name, _ in state.patches if name not in kept),
        uncommitted=_uncommitted(directory, settings.reporter),
    )


def export(directory: Path, series_dir: Path, settings: Settings) -> tuple[Path, ...]:
    """Write the commits of the checkout `directory` back as the series in `series_dir`; returns the files changed.

    A patch whose commit says the same as before (blob ids apart) stays as it is, byte for byte; a name stays with
    number and subject.
    Raises UserError, with nothing written, for uncommitted work, a history that is not a line on the base, a series
    that changed since the checkout, and commits that do not survive the way through mails.
    """
    state = _State.read(directory)
    _refuse_uncommitted(directory, settings.reporter)
    listed = series_dir / SERIES
    if listed.exists() and state.series and load_series(series_dir).digest != state.series:
        raise UserError(
            f"{series_dir}: changed since {directory} was checked out",
            remedy="commit or stash one of the two, then check out again; or export to an empty directory",
        )
    patches = _patches(directory, state, settings.reporter)
    text = listed.read_text() if listed.exists() else f"# Applies to {_pattern(state.version)}\n"
    renamed = {patch.old: patch.name for patch in patches if patch.old}
    files = {SERIES: rewrite_list(text, [patch.name for patch in patches], renamed).encode()}
    for patch in patches:
        before = series_dir / (patch.old or "")
        files[patch.name] = before.read_bytes() if before.is_file() and not patch.edited else patch.text
    digest = _verified(files, directory, state, settings)
    changed = _install(files, series_dir, {name for name, _ in state.patches} - set(files))
    commits = tuple((patch.name, patch.commit) for patch in patches)
    replace(state, commit=_head(directory), patches=commits, series=digest).write(directory)
    return changed


def _pattern(version: str) -> str:
    """The versions that a series for `version` applies to: all point releases."""
    first, dot, _ = version.rpartition(".")
    return f"{first}.*" if dot and "." in first else version


def _verified(files: dict[str, bytes], directory: Path, state: _State, settings: Settings) -> str:
    """The digest of the series `files`, which must apply again and make the tree of the checkout."""
    with tempfile.TemporaryDirectory(dir=settings.cache) as scratch:
        for name, data in files.items():
            Path(scratch, name).write_bytes(data)
        try:
            series = load_series(Path(scratch))
            applied = apply(state.imported, series, settings)
        except UserError as error:
            message = error.message.replace(f"{scratch}/", "")
            raise UserError(f"{directory}: not exported: {message}", remedy=error.remedy, log=error.log) from error
    if applied.tree != str(_repository(directory).head.peel(pygit2.Tree).id):
        raise UserError(f"{directory}: not exported: as mails, its commits make another tree (carriage returns?)")
    return series.digest


def _install(files: dict[str, bytes], series_dir: Path, gone: set[str]) -> tuple[Path, ...]:
    """Write what differs, the list last, and remove what left the list."""
    series_dir.mkdir(parents=True, exist_ok=True)
    changed = []
    for name in sorted(files, key=lambda name: (name == SERIES, name)):
        path = series_dir / name
        if not path.is_file() or path.read_bytes() != files[name]:
            part = path.with_name(f".{name}.part")
            part.write_bytes(files[name])
            part.replace(path)
            changed.append(path)
    for path in sorted(series_dir / name for name in gone):
        if path.exists():
            path.unlink()
            changed.append(path)
    return tuple(changed)


def _patches(directory: Path, state: _State, reporter: Reporter) -> list[_Patch]:
    """The commits of `directory` on its base, in order, each matched with the patch that it was."""
    old = _formatted(directory, state.base_commit, state.commit, reporter)
    new = _formatted(directory, state.base_commit, _head(directory), reporter)
    names = [name for name, _ in state.patches]
    unmatched = dict(enumerate(_essence(text) for _, _, text in old))
    patches: list[_Patch | None] = []
    for number, (_, commit, text) in enumerate(new):  # first all that are the same, wherever they went
        same = [(abs(index - number), index) for index, other in unmatched.items() if other == _essence(text)]
        index = min(same)[1] if same else None
        if index is None:
            patches.append(None)
            continue
        del unmatched[index]
        name = names[index] if index == number else f"{number + 1:04d}-{re.sub(r'^[0-9]+-', '', names[index])}"
        patches.append(_Patch(name, commit, text, names[index], edited=False))
    subjects = {_subject(old[index][0]): index for index in unmatched}
    result = []
    for number, (file, commit, text) in enumerate(new):
        index = subjects.pop(_subject(file), None) if patches[number] is None else None
        name = names[index] if index == number else file
        result.append(
            patches[number] or _Patch(name, commit, text, None if index is None else names[index], edited=True)
        )
    return result


def _essence(text: bytes) -> bytes:
    """A patch without the ids of its blobs: those change when an earlier patch touches the same file."""
    return text if b"\nGIT binary patch\n" in text else _BLOBS.sub(b"index", text)


def _subject(file: str) -> str:
    return file.partition("-")[2]


def _formatted(directory: Path, base: str, tip: str, reporter: Reporter) -> list[tuple[str, str, bytes]]:
    """File name, commit and text of each patch from `base` to `tip`; raises UserError if that is not one line."""
    commits = git(reporter, "rev-list", "--reverse", f"{base}..{tip}", cwd=directory).split()
    repo = _repository(directory)
    for commit, parent in zip(commits, [base, *commits], strict=False):
        if [str(oid) for oid in repo[commit].peel(pygit2.Commit).parent_ids] != [parent]:
            raise UserError(
                f"{directory}: {commit[:12]} is not in one line with the base", remedy="git rebase refs/dvh/base"
            )
    if not commits and tip != base:
        raise UserError(f"{directory}: {tip[:12]} is not on top of the base", remedy="git rebase refs/dvh/base")
    with tempfile.TemporaryDirectory(dir=directory / ".git") as scratch:
        git(reporter, "format-patch", *_FORMAT, "-o", scratch, f"{base}..{tip}", cwd=directory)
        files = sorted(Path(scratch).iterdir())
        return [(file.name, commit, file.read_bytes()) for file, commit in zip(files, commits, strict=True)]


def _repository(directory: Path) -> pygit2.Repository:
    return pygit2.Repository(str(directory))


def _head(directory: Path) -> str:
    return str(_repository(directory).head.target)


def _uncommitted(directory: Path, reporter: Reporter) -> tuple[str, ...]:
    said = git(reporter, "status", "--porcelain", "--untracked-files=no", cwd=directory)
    return tuple(line[3:] for line in said.splitlines())


def _refuse_uncommitted(directory: Path, reporter: Reporter) -> None:
    if any((directory / ".git" / name).exists() for name in ("rebase-merge", "rebase-apply")):
        raise UserError(f"{directory}: a rebase is under way", remedy="finish it: git rebase --continue")
    if files := _uncommitted(directory, reporter):
        raise UserError(
            f"{directory}: uncommitted changes in {', '.join(files[:3])}", remedy="commit them, or git stash"
        )
