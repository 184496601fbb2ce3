# SPDX-License-Identifier: GPL-2.0-or-later
"""Files from elsewhere: named by URL and SHA-256, whole and verified or not there at all."""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import IO

from dvhbuild.errors import HostError
from dvhbuild.settings import Settings
from dvhbuild.steps import Reporter, Step, step

CONNECT_TIMEOUT = 8.0
"""Seconds without an answer, or without a byte, after which a host counts as out of reach."""

_CHUNK = 1 << 20


class UnreachableError(HostError):
    """A host did not answer, or does not have the file: another origin may."""


class WrongHashError(HostError):
    """A file is not what it should be; the message names both hashes. Never a reason to try the next origin."""

    def __init__(self, name: object, *, expected: str, found: str) -> None:
        super().__init__(
            f"{name}: SHA-256 is {found}, expected {expected}",
            remedy="the file is damaged or not the one that was pinned; do not use it",
        )


def sha256(path: Path) -> str:
    """SHA-256 of the file at `path`, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def whole_or_nothing(target: Path, digest: str) -> Iterator[Path]:
    """A temporary path beside `target`, renamed to it if the body succeeds and the SHA-256 is `digest`.

    Raises WrongHashError; HostError for what the file system says (a full disk); nothing is left behind either way.
    """
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield part
        found = sha256(part)
        if found != digest:
            raise WrongHashError(target.name, expected=digest, found=found)
        part.replace(target)
    except OSError as error:
        if isinstance(error, urllib.error.URLError) or error.errno is None:
            raise
        raise HostError(
            f"{error.filename or target}: {error.strerror}",
            remedy="free some space (dvhbuild clean), or set DVHBUILD_CACHE to another disk",
        ) from error
    finally:
        part.unlink(missing_ok=True)


def download(url: str, target: Path, digest: str, settings: Settings) -> None:
    """Fetch `url` to `target`, whose SHA-256 must be `digest`.

    Raises UnreachableError if the host does not answer or lacks the file, WrongHashError if it serves another.
    """
    with whole_or_nothing(target, digest) as part, step(settings.reporter, f"download {target.name}") as current:
        try:
            with urllib.request.urlopen(url, timeout=CONNECT_TIMEOUT) as answer, part.open("wb") as file:  # noqa: S310 (ours)
                size = int(answer.headers.get("Content-Length") or 0)
                _copy(answer, file, size, settings.reporter, current)
        except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError) as error:
            reason = getattr(error, "reason", None) or error
            raise UnreachableError(f"{url}: {reason}") from error


def _copy(source: IO[bytes], sink: IO[bytes], size: int, reporter: Reporter, current: Step) -> None:
    done = 0
    while chunk := source.read(_CHUNK):
        sink.write(chunk)
        done += len(chunk)
        of = f" of {size / 1e6:.0f}" if size else ""
        reporter.advanced(current, f"{done / 1e6:.0f}{of} MB")
    if done < size:
        raise ConnectionError(f"ended after {done} of {size} bytes")
