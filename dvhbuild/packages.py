# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's packages with all that they depend on, to be unpacked: what is not installed starts no service here."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict, ValidationError

from dvhbuild import apt
from dvhbuild.fetch import sha256
from dvhbuild.locks import locked
from dvhbuild.settings import Settings

SUITE = "trixie"
"""The same programs on every machine that has a mirror of Debian; on others, its own distribution's."""

_RECORD = "packages.json"


class _Record(BaseModel):
    """What was asked for, and the files (name -> SHA-256) that came of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    wanted: tuple[str, ...]
    suite: str
    files: Mapping[str, str]


@dataclass(frozen=True)
class Packages:
    """Files (name -> SHA-256) in `directory`."""

    directory: Path
    files: Mapping[str, str]

    @property
    def paths(self) -> tuple[Path, ...]:
        return tuple(self.directory / name for name in sorted(self.files))

    @property
    def versions(self) -> Mapping[str, str]:
        """By the name of a package."""
        parts = (unquote(name).split("_") for name in self.files)
        return {name: version for name, version, *_ in parts}


def obtain(wanted: Sequence[str], settings: Settings) -> Packages:
    """The packages `wanted` and what they depend on, as they were first downloaded; later calls touch no network.

    Raises UnreachableError if they cannot be had.
    """
    directory = settings.cache / "downloads" / "packages"
    with locked(settings, "packages"):
        if (record := _read(directory, wanted)) is None:
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir(parents=True)
            apt.download(wanted, SUITE, directory, settings)
            files = {path.name: sha256(path) for path in sorted(directory.glob("*.deb"))}
            record = _Record(wanted=tuple(wanted), suite=SUITE, files=files)
            (directory / _RECORD).write_text(record.model_dump_json(indent=2) + "\n")
    return Packages(directory, record.files)


def _read(directory: Path, wanted: Sequence[str]) -> _Record | None:
    """What was downloaded before, if it is what is wanted and whole."""
    try:
        record = _Record.model_validate_json((directory / _RECORD).read_text())
        whole = all(sha256(directory / name) == digest for name, digest in record.files.items())
    except (OSError, ValidationError):
        return None
    return record if whole and (record.wanted, record.suite) == (tuple(wanted), SUITE) else None
