# SPDX-License-Identifier: GPL-2.0-or-later
"""What we build from: named in bases.toml, found here or fetched, and verified; unpacking is `repository`'s work."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError

from dvhbuild import apt
from dvhbuild.errors import HostError, UserError
from dvhbuild.fetch import UnreachableError, WrongHashError, download, sha256
from dvhbuild.locks import locked
from dvhbuild.settings import Settings

BASES = Path(__file__).with_name("bases.toml")

_VERSION = r"(?P<version>\d+(?:\.\d+)*)"
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Upstream(_Model):
    """A release of upstream's: its URL and what it must hash to."""

    version: str
    url: Annotated[str, Field(pattern=r"^(https?|file)://\S+$")]
    sha256: _Sha256

    @property
    def file(self) -> str:
        return self.url.rpartition("/")[2]


class Debian(_Model):
    """A package of Debian's: a binary one that holds a tarball; with `source`, the upstream tarball of a source one."""

    package: str
    suite: str
    source: bool


class Base(_Model):
    """One thing that we build from; the keys are explained in bases.toml."""

    name: str
    version: str
    files: tuple[str, ...] = Field(strict=False)
    version_file: str
    version_pattern: str
    subdirectory: str = ""
    upstream: Upstream | None = None
    debian: Debian | None = None
    known: dict[str, _Sha256] = {}

    @property
    def vouched(self) -> dict[str, str]:
        """Every file name whose SHA-256 we know, with that."""
        return {**({self.upstream.file: self.upstream.sha256} if self.upstream else {}), **self.known}

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    def version_of(self, file: str) -> str | None:
        """The version in a file's name, if the name is one that this base's files have."""
        for pattern in self.files:
            parts = (re.escape(part).replace(r"\*", "[^/]*") for part in pattern.split("{version}"))
            if match := re.fullmatch(_VERSION.join(parts), file):
                return match["version"]
        return None


class _Bases(RootModel[dict[str, Base]]):
    pass


@dataclass(frozen=True)
class Source:
    """A base found and verified.

    `path` is a git tree, a tarball or a .deb that holds one; `origin` says for the record where it comes from. A git
    tree has no `sha256`; its `subdirectory`, if any, is what a release holds.
    """

    name: str
    version: str
    path: Path
    kind: Literal["git", "tarball", "deb"]
    origin: str
    sha256: str | None
    subdirectory: str = ""


def load_bases(path: Path = BASES) -> dict[str, Base]:
    """The bases in the file at `path`, by name; raises UserError that names the file and the faulty key."""
    try:
        table = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: {error}") from error
    named = {name: {"name": name, **base} if isinstance(base, dict) else base for name, base in table.items()}
    try:
        return _Bases.model_validate(named).root
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{path}: {key}: {first['msg']}", remedy=f"{path.name} explains its keys at its top") from error


def obtain(base: Base, settings: Settings, *, refresh: bool = False) -> Source:
    """The source of `base`: the user's own, or what was found before, or the first origin that has it.

    What was found is remembered, so that a later call touches no network, unless `refresh` asks to look again.
    Raises UserError for what the user named, WrongHashError for a file that is not what it should be, HostError if no
    origin has the base.
    """
    if own := settings.own.get(base.name):
        return _own(base, own)
    with locked(settings, f"base-{base.name}"):
        if not refresh and (source := _remembered(base, settings)):
            return source
        reasons = []
        for origin in (_from_downloads, _from_upstream, _from_debian):
            try:
                source = origin(base, settings)
            except UnreachableError as error:
                reasons.append(error.message)
                if origin is not _from_downloads:
                    settings.reporter.remark(error.message)
                continue
            _remember(base, source, settings)
            return source
    raise HostError(
        f"{base.name}: no source: {'; '.join(reasons)}",
        remedy=f"put one of {', '.join(base.vouched) or base.files[0]} into a directory and name that in "
        f"DVHBUILD_DOWNLOADS, or name a git tree in DVHBUILD_{base.name.upper()}",
    )


def _own(base: Base, path: Path) -> Source:
    """The tree or tarball that the user named: used as it is."""
    if path.is_dir():
        return _own_tree(base, path)
    version = base.version_of(path.name)
    if version is None and (match := re.match(rf"{base.name}[-_]v?{_VERSION}", path.name)):
        version = match["version"]
    if version is None:
        raise UserError(f"{path}: no version in its name", remedy=f"name it like {' or '.join(base.files)}")
    return Source(base.name, version, path, _kind(path), f"user's file {path}", sha256(path))


def _own_tree(base: Base, path: Path) -> Source:
    if not (path / ".git").exists():
        raise UserError(
            f"{path}: not the top of a git tree", remedy="git init, git add and git commit there, or name a tarball"
        )
    for subdirectory in dict.fromkeys(("", base.subdirectory)):
        file = path / subdirectory / base.version_file
        if file.is_file() and (match := re.search(base.version_pattern, file.read_text(errors="replace"))):
            version = ".".join(match.groups())
            return Source(base.name, version, path, "git", f"user's git tree {path}", None, subdirectory)
    raise UserError(f"{path}: no version of {base.name} in its {base.version_file}; is it {base.name}'s source?")


def _kind(path: Path) -> Literal["tarball", "deb"]:
    return "deb" if path.suffix == ".deb" else "tarball"


def _from_downloads(base: Base, settings: Settings) -> Source:
    """A file of the user's collection that is vouched for: the pinned release, else the newest."""
    refused = []
    for path, version in _candidates(base, settings.downloads):
        found = sha256(path)
        if found in base.vouched.values():
            return Source(base.name, version, path, _kind(path), f"downloads, {path.name}", found)
        if expected := base.vouched.get(path.name):
            raise WrongHashError(path, expected=expected, found=found)
        settings.reporter.remark(f"{path}: not used: no one vouches for SHA-256 {found}")
        refused.append(path.name)
    where = f"{settings.downloads}: {', '.join(refused)} not vouched for in bases.toml" if refused else ""
    raise UnreachableError(where or f"downloads: none of {', '.join(base.files)}")


def _candidates(base: Base, directory: Path | None) -> Iterator[tuple[Path, str]]:
    files = sorted(directory.iterdir()) if directory and directory.is_dir() else []
    found = [(path, version) for path in files if path.is_file() and (version := base.version_of(path.name))]
    fitting = [(path, version) for path, version in found if fnmatch.fnmatchcase(version, base.version)]
    pinned = base.upstream.file if base.upstream else ""
    yield from sorted(
        fitting,
        key=lambda pair: (
            pair[0].name == pinned,
            pair[0].name in base.known,
            [int(part) for part in pair[1].split(".")],
        ),
        reverse=True,
    )


def _from_upstream(base: Base, settings: Settings) -> Source:
    if base.upstream is None:
        raise UnreachableError("upstream: no release is pinned")
    target = settings.cache / "downloads" / base.upstream.file
    if not (target.is_file() and sha256(target) == base.upstream.sha256):
        download(base.upstream.url, target, base.upstream.sha256, settings)
    return Source(base.name, base.upstream.version, target, _kind(target), base.upstream.url, base.upstream.sha256)


def _from_debian(base: Base, settings: Settings) -> Source:
    """The file that apt's signed lists name."""
    if base.debian is None:
        raise UnreachableError("Debian: no package is named")
    suite, package = base.debian.suite, base.debian.package
    for remote in apt.find(package, suite, settings, source=base.debian.source):
        version = base.version_of(remote.name)
        if version is None or not fnmatch.fnmatchcase(version, base.version):
            continue
        target = settings.cache / "downloads" / remote.name
        if not (target.is_file() and sha256(target) == remote.sha256):
            apt.fetch(remote, target, settings)
        return Source(base.name, version, target, _kind(target), f"Debian, {remote.name}", remote.sha256)
    raise UnreachableError(f"Debian {suite}: {package} has no file like {', '.join(base.files)}")


def _record(base: Base, settings: Settings) -> Path:
    return settings.cache / "bases" / f"{base.name}.json"


def _stamp(path: Path) -> list[int]:
    return [path.stat().st_size, path.stat().st_mtime_ns]


def _remember(base: Base, source: Source, settings: Settings) -> None:
    record = _record(base, settings)
    record.parent.mkdir(parents=True, exist_ok=True)
    part = record.with_suffix(".part")
    text = {**asdict(source), "path": str(source.path), "stamp": _stamp(source.path), "base": base.digest}
    part.write_text(json.dumps(text, indent=2) + "\n")
    part.replace(record)


def _remembered(base: Base, settings: Settings) -> Source | None:
    """What was found and verified before, if neither it nor the base has changed since."""
    try:
        record: dict[str, Any] = json.loads(_record(base, settings).read_text())
        path = Path(record.pop("path"))
        if record.pop("base") != base.digest or record.pop("stamp") != _stamp(path):
            return None
        return Source(**record, path=path)
    except (OSError, ValueError, KeyError, TypeError):
        return None
