# SPDX-License-Identifier: GPL-2.0-or-later
"""Files that are written for people and other programs: all of one, or nothing."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, cast

from dvhbuild.errors import HostError


@contextmanager
def replacement(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `path`, whose directory is made if it is not there, when the body is done.

    A symbolic link stays, and what it leads to is replaced. What is no file (a pipe, a device), or is where our own
    output goes, cannot be replaced: it is written into.

    Raises HostError if the disk fails; what was there is untouched then, as it is if the body fails.
    """
    try:
        with _place(path) or _whole(path.resolve()) as file:
            yield file
    except OSError as error:
        raise HostError(f"{path}: cannot be written: {error.strerror or error}") from error


def _place(path: Path) -> BinaryIO | None:
    """What `path` is, to be written into, unless it is, or may become, a file of its own."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return None
    for descriptor in (1, 2):
        with suppress(OSError):  # it is closed
            if os.path.samestat(there, os.fstat(descriptor)):  # /dev/stdout, too, whatever that is
                sys.stdout.flush()
                return os.fdopen(os.dup(descriptor), "wb")
    return None if stat.S_ISREG(there.st_mode) else path.open("wb")


@contextmanager
def _whole(path: Path) -> Iterator[BinaryIO]:
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            yield cast("BinaryIO", file)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        if temporary:
            temporary.unlink(missing_ok=True)


def replace(path: Path, text: str) -> None:
    """Put a file of `text` in the place of `path`; raises what `replacement` does."""
    with replacement(path) as file:
        file.write(text.encode())
