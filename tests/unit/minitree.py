# SPDX-License-Identifier: GPL-2.0-or-later
"""A miniature source tree, as a tarball and as upstream's git tree, and patches on it."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tarfile

import pygit2

from dvhbuild.bases import Source
from dvhbuild.patchfiles import SERIES

VERSION = "1.2.3"
LINES = "".join(f"line {number}\n" for number in range(1, 41))
FILES = {
    "VERSION": f"{VERSION}\n",
    "src/main.c": LINES,
    "src/other.c": LINES,
    'with space/and "quote"': "odd\n",
    "tools/run": "#!/bin/sh\n",
}
PERSON = {
    "GIT_AUTHOR_NAME": "Ada Löwe, née Byron",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_AUTHOR_DATE": "2026-03-01T12:00:00 +0130",
    "GIT_COMMITTER_NAME": "Some One",
    "GIT_COMMITTER_EMAIL": "one@example.org",
}


def git(*argv, cwd, **env):
    full = {**os.environ, **PERSON, "GIT_CONFIG_NOSYSTEM": "1", **env}
    done = subprocess.run(["git", *map(str, argv)], cwd=cwd, env=full, capture_output=True, check=True)
    return done.stdout.decode().strip()


def tarball(path, files=FILES, top="tiny-1.2.3", extra=()):
    with tarfile.open(path, "w:xz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(f"{top}/{name}")
            member.size = len(text.encode())
            member.mode = 0o755 if name.startswith("tools/") else 0o644
            tar.addfile(member, io.BytesIO(text.encode()))
        for member in extra:
            tar.addfile(member)
    return path


def source_of(path, kind="tarball"):
    digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
    return Source("tiny", VERSION, path, kind, "a test", digest)


def commit(tree, message, **edits):
    """Commit `edits`: "src_main_c" for src/main.c; text, None to remove, or (old, new)."""
    for key, edit in edits.items():
        path = tree / key.replace("_c", ".c").replace("_", "/", 1)
        if edit is None:
            path.unlink()
        elif isinstance(edit, tuple):
            text = path.read_text()
            assert edit[0] in text
            path.write_text(text.replace(*edit, 1))
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(edit)
    git("add", "-A", cwd=tree)
    git("commit", "-qm", message, cwd=tree)


def write_series(tree, directory, base="main~3", options=()):
    """The commits of `tree` since `base` as patches and a list."""
    directory.mkdir(exist_ok=True)
    common = ("format-patch", "--zero-commit", "--no-signature", "-N", "--abbrev=12", "-q")
    git(*common, *options, "-o", directory, base, cwd=tree)
    names = sorted(path.name for path in directory.glob("*.patch"))
    lines = ["# Applies to 1.2.*; in order.", "", names[0], "# why the second", *names[1:], "# the end"]
    (directory / SERIES).write_text("".join(f"{line}\n" for line in lines))
    return directory


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


def refs(imported):
    return set(pygit2.Repository(str(imported.repo)).references)
