# SPDX-License-Identifier: GPL-2.0-or-later
"""Bases as bare git repositories: each version one root commit; and trees on disk that follow a commit."""

from __future__ import annotations

import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO

import pygit2

from dvhbuild.bases import Source
from dvhbuild.errors import HostError, UserError
from dvhbuild.locks import locked
from dvhbuild.process import output, running
from dvhbuild.settings import Settings
from dvhbuild.steps import Reporter, Silent, step

CHECKOUT = "dvh.json"
"""The file in the .git of a checkout of a series that says what it was made of."""

WHO = ("dvhbuild", "dvhbuild@localhost")
WHEN = 1_000_000_000
"""Author and date of every root commit, so that the same sources always get the same commit id."""

ENVIRONMENT = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_CONFIG_COUNT": "2",
    "GIT_CONFIG_KEY_0": "safe.directory",
    "GIT_CONFIG_VALUE_0": "*",
    "GIT_CONFIG_KEY_1": "core.attributesFile",
    "GIT_CONFIG_VALUE_1": "/dev/null",
}
"""git without the user's configuration, which could change what it writes (his attributes, found without any
configuration, the ends of lines); a tree may belong to another user."""

pygit2.settings.owner_validation = False  # as safe.directory above

_DAMAGED = (tarfile.TarError, EOFError, OSError)


@dataclass(frozen=True)
class Imported:
    """A base in git: the bare repository, the root commit of this version, its tree.

    `patched` if the user's tree is a checkout of the series, so that the series is in the tree already.
    """

    name: str
    repo: Path
    commit: str
    tree: str
    version: str
    patched: bool = False


@dataclass(frozen=True)
class Applied:
    """A base with a series on top; `patches` are (file name, commit) in order, `series` is the digest of the series."""

    repo: Path
    base_commit: str
    commit: str
    tree: str
    patches: tuple[tuple[str, str], ...]
    series: str = ""


def import_base(source: Source, settings: Settings) -> Imported:
    """Bring `source` into its bare repository below `settings.cache/git`; done once for each version.

    A user's git tree is not copied: its objects are borrowed, and what is not yet committed there is included. Raises
    HostError for a damaged archive or a failing git.
    """
    with locked(settings, f"git-{source.name}"):
        if source.kind == "git":
            return _import_tree(source, settings)
        repo = _bare(settings.cache / "git" / f"{source.name}.git")
        ref = f"refs/imports/{source.version}-{(source.sha256 or '')[:16]}"
        if ref not in repo.references:
            log = settings.logs / f"import-{source.name}.log"
            with (
                step(settings.reporter, f"import {source.name} {source.version} into git", log) as current,
                closing(_fast_import(source, ref, Path(repo.path), settings.reporter, log)) as files,
            ):
                for number, name in enumerate(files):
                    if number % 5000 == 0:
                        settings.reporter.advanced(current, f"{number} files, {name}")
        commit = repo.references[ref].peel(pygit2.Commit)
        return Imported(source.name, Path(repo.path), str(commit.id), str(commit.tree_id), source.version)


def git(reporter: Reporter, *argv: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """What `git argv` prints, undisturbed by the user's configuration; raises HostError if it fails."""
    return output(("git", *argv), reporter=reporter, cwd=cwd, env={**ENVIRONMENT, **(env or {})})


def borrow(repo: Path, directory: Path, reporter: Reporter) -> None:
    """Make `directory` a git repository, if it is none, that borrows the objects of `repo` and keeps its own."""
    if not (directory / ".git").exists():
        git(reporter, "init", "-q", "--template=", directory)
    alternates = directory / ".git" / "objects" / "info" / "alternates"
    alternates.parent.mkdir(exist_ok=True)
    alternates.write_text(f"{repo / 'objects'}\n")


def update_worktree(applied: Applied, directory: Path, reporter: Reporter | None = None) -> None:
    """Make the private tree `directory` equal to `applied`, and touch no file that is so already.

    Times of the other files stay, so that make and ccache do no more than they must; files of ours that were edited
    are restored, untracked ones stay unless they are in the way. The index lies beside the directory, which is no git
    tree of its own. The caller keeps others out of it.
    """
    reporter = reporter or Silent()
    directory.mkdir(parents=True, exist_ok=True)
    index = directory.parent / f".{directory.name}.index"
    index.with_name(f"{index.name}.lock").unlink(missing_ok=True)  # of a run that was killed
    env = {"GIT_DIR": str(applied.repo), "GIT_WORK_TREE": str(directory), "GIT_INDEX_FILE": str(index)}
    try:
        git(reporter, "update-index", "-q", "--really-refresh", cwd=directory, env=env)
    except HostError:
        index.unlink(missing_ok=True)  # damaged: all files are written anew
    workers = f"checkout.workers={os.cpu_count() or 1}"
    git(reporter, "-c", workers, "read-tree", "--reset", "-u", applied.commit, cwd=directory, env=env)


def _bare(path: Path) -> pygit2.Repository:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not (path / "HEAD").is_file():
        return pygit2.init_repository(str(path), bare=True)
    return pygit2.Repository(str(path))


def _import_tree(source: Source, settings: Settings) -> Imported:
    """A root commit with the tree that the user's working tree has now; his repository is only read."""
    key = sha256(str(source.path.resolve()).encode()).hexdigest()[:12]
    repo = _bare(settings.cache / "git" / f"{source.name}-{key}.git")
    ours = Path(repo.path)
    reporter = settings.reporter
    theirs = Path(git(reporter, "rev-parse", "--path-format=absolute", "--git-path", "objects", cwd=source.path))
    index = Path(git(reporter, "rev-parse", "--path-format=absolute", "--git-path", "index", cwd=source.path))
    (ours / "objects" / "info").mkdir(parents=True, exist_ok=True)
    (ours / "objects" / "info" / "alternates").write_text(f"{theirs}\n")
    with tempfile.TemporaryDirectory(dir=ours) as scratch, step(reporter, f"read {source.path}"):
        copy = Path(scratch, "index")
        if index.is_file():
            shutil.copy2(index, copy)
        env = {
            "GIT_INDEX_FILE": str(copy),
            "GIT_OBJECT_DIRECTORY": str(ours / "objects"),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(theirs),
        }
        git(reporter, "add", "--all", cwd=source.path, env=env)
        prefix = (f"--prefix={source.subdirectory}/",) if source.subdirectory else ()
        tree = git(reporter, "write-tree", *prefix, cwd=source.path, env=env)
    repo = pygit2.Repository(str(ours))  # anew, so that it sees what it borrows
    who = pygit2.Signature(*WHO, WHEN, 0)
    message = f"{source.name} {source.version}\n"
    commit = repo.create_commit(None, who, who, message, pygit2.Oid(hex=tree), [])
    patched = (source.path / ".git" / CHECKOUT).is_file()
    return Imported(source.name, ours, str(commit), tree, source.version, patched)


def _fast_import(source: Source, ref: str, repo: Path, reporter: Reporter, log: Path) -> Generator[str, None, None]:
    """Feed the archive of `source` to git fast-import, naming each file; `ref` appears when all of it is there."""
    # Level 1: zlib's default takes three times as long, no compression four times the disk.
    config = ("-c", "core.compression=1", "-c", "pack.compression=1")
    argv = ("git", *config, "fast-import", "--quiet", "--done", "--depth=0")
    log.parent.mkdir(parents=True, exist_ok=True)
    _tidy(repo)
    try:
        with (
            log.open("wb") as said,
            _archive(source, reporter) as tar,
            running(argv, reporter=reporter, cwd=repo, env=ENVIRONMENT, stdin=-1, stdout=said) as process,
        ):
            assert process.stdin is not None
            try:
                yield from _feed(tar, process.stdin, _head(source, ref))
            finally:
                with suppress(OSError):  # the status tells
                    process.stdin.close()
            failed = process.wait() != 0
    except BrokenPipeError:
        failed = True
    except _DAMAGED as error:
        if isinstance(error, HostError) or (isinstance(error, OSError) and error.errno):
            raise
        raise HostError(f"{source.path}: damaged archive: {error}", remedy="remove it and try again") from error
    finally:
        _tidy(repo)
    if failed:
        lines = log.read_text(errors="replace").splitlines()
        fatal = next((line for line in lines if line.startswith("fatal: ")), "fatal: it ended early")
        raise HostError(f"git fast-import: {fatal[7:]}", remedy="free some space?", log=log)


def _tidy(repo: Path) -> None:
    """Remove what a fast-import that was stopped leaves; the caller holds the lock."""
    for stale in (*(repo / "objects" / "pack").glob("tmp_*"), *repo.glob("fast_import_crash_*")):
        stale.unlink()


def _head(source: Source, ref: str) -> bytes:
    """The root commit, up to its files."""
    who = f"{WHO[0]} <{WHO[1]}> {WHEN} +0000"
    text = f"{source.name} {source.version}\n"
    return f"commit {ref}\nauthor {who}\ncommitter {who}\ndata {len(text.encode())}\n{text}".encode()


@contextmanager
def _archive(source: Source, reporter: Reporter) -> Iterator[tarfile.TarFile]:
    """The tarball of `source`, or inside of its .deb, as a stream."""
    if source.kind == "tarball":
        with tarfile.open(source.path, "r|*") as tar:
            yield tar
        return
    argv = ("dpkg-deb", "--fsys-tarfile", source.path)
    with running(argv, reporter=reporter, stdout=-1, stderr=None) as process:
        with tarfile.open(fileobj=process.stdout, mode="r|") as package:
            for member in package:
                if member.isreg() and re.fullmatch(r"\./usr/src/[^/]+\.tar(\.\w+)?", member.name):
                    with tarfile.open(fileobj=package.extractfile(member), mode="r|*") as tar:
                        yield tar
                    return
        raise HostError(f"{source.path}: no tarball in its /usr/src")


def _feed(tar: tarfile.TarFile, sink: IO[bytes], head: bytes) -> Iterator[str]:
    """Write `head` and the files of `tar`, without its one top directory, as commands of git fast-import."""
    sink.write(head)
    top = None
    for member in tar:
        first, _, name = member.name.removeprefix("./").partition("/")
        parts = name.split("/")
        if top not in (None, first) or ".." in parts:
            raise UserError(f"{member.name}: not below the one top directory {top}")
        top = first
        if not name or ".git" in parts:
            continue
        if member.issym():
            _write(sink, "120000", name, os.fsencode(member.linkname))
        elif member.islnk():
            sink.write(f"C {_quote(member.linkname.partition('/')[2])} {_quote(name)}\n".encode())
        elif member.isreg() and (file := tar.extractfile(member)):
            _write(sink, "100755" if member.mode & 0o100 else "100644", name, file.read())
        else:
            continue
        yield name
    sink.write(b"\ndone\n")


def _write(sink: IO[bytes], mode: str, name: str, data: bytes) -> None:
    sink.write(f"M {mode} inline {_quote(name)}\ndata {len(data)}\n".encode(errors="surrogateescape"))
    sink.write(data)
    sink.write(b"\n")


def _quote(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
