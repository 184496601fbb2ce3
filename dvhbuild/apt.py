# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's packages for any Debian suite, through an apt state directory of our own.

The mirror, proxies and transports are the machine's; its package lists and installed packages are neither used nor
changed, and no root is needed. What apt says of a file stands on the signature of the suite's Release file.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from dvhbuild.errors import HostError
from dvhbuild.fetch import UnreachableError, whole_or_nothing
from dvhbuild.locks import locked
from dvhbuild.process import output, run
from dvhbuild.settings import Settings
from dvhbuild.steps import step

KEYRINGS = tuple(Path(f"/usr/share/keyrings/debian-archive-keyring.{kind}") for kind in ("pgp", "gpg"))
LISTS_LAST = 600.0
"""Seconds for which package lists need no update."""
HELPER = Path("/usr/lib/apt/apt-helper")

_DEBIAN = re.compile(r"((old)*stable|testing|unstable|sid|bookworm|trixie|forky|duke)(-security|-updates|-backports)?")
_TARGETS = "$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(ORIGIN)"
_COMPONENTS = "let apt have the components that these are in: Debian's main; Ubuntu's universe and multiverse"
_NAME = re.compile(r"^'[^']+' (\S+\.deb) \d+", re.MULTILINE)
_FILE = re.compile(r"^'(?P<uri>[^']+)' (?P<name>\S+) \d+ SHA256:(?P<sha256>[0-9a-f]{64})$", re.MULTILINE)


@dataclass(frozen=True)
class Remote:
    """A file in the archive: its URI, its name, and the SHA-256 that the signed lists give."""

    uri: str
    name: str
    sha256: str


def find(package: str, suite: str, settings: Settings, *, source: bool) -> tuple[Remote, ...]:
    """The files of `package` in `suite` (or, newer, in its or the machine's security suite), after an update.

    With `source`, the files of the source package, else the one binary package. Raises UnreachableError if this
    machine has no Debian mirror or the mirror lacks the package.
    """
    words = ("source", "--only-source") if source else ("download",)
    with locked(settings, "apt"):
        own = _configure(suite, settings)
        said = _ask(own, ("apt-get", *words, "--print-uris", package), package, settings)
    return tuple(Remote(m["uri"], unquote(m["name"]), m["sha256"]) for m in _FILE.finditer(said))


def download(packages: Sequence[str], suite: str, directory: Path, settings: Settings) -> None:
    """Fetch `packages` of `suite` and all that they depend on into the empty `directory`, as .deb files.

    Where this machine has no mirror of Debian, they are its own distribution's. apt verifies each file. Raises
    UnreachableError if a package is not to be had.
    """
    log = settings.logs / "apt.log"
    with locked(settings, "apt"):
        try:
            own = _configure(suite, settings)
        except UnreachableError:
            own = _configure(None, settings)
        install = ("apt-get", "install", "--yes", "--no-install-recommends", "--print-uris", *packages)
        try:
            said = _ask(own, install, " ".join(packages), settings)
        except UnreachableError as error:
            raise UnreachableError(error.message, remedy=_COMPONENTS, log=error.log) from error
        names = [name.partition("_")[0] for name in _NAME.findall(said)]
        with step(settings.reporter, f"download {len(names)} packages: {packages[0]} ...", log):
            argv = ("apt-get", "download", "-q", *names)
            try:
                run(argv, reporter=settings.reporter, log=log, cwd=directory, env=own.environment)
            except HostError as error:
                raise UnreachableError(f"{own.where}: {error.message}", log=log) from error


@dataclass(frozen=True)
class _Own:
    """A state directory of ours, of whose archive it is, and the environment that selects it."""

    root: Path
    where: str

    @property
    def environment(self) -> dict[str, str]:
        return {"APT_CONFIG": str(self.root / "apt.conf")}


def _ask(own: _Own, argv: Sequence[str], packages: str, settings: Settings) -> str:
    """What apt says of `packages`, after an update; raises UnreachableError if it says nothing."""
    log = settings.logs / "apt.log"
    updated = own.root / "updated"
    if not _recent(updated):
        with step(settings.reporter, f"update the package lists of {own.where}", log):
            run(("apt-get", "update", "-q"), reporter=settings.reporter, log=log, env=own.environment)
    try:
        said = output(argv, reporter=settings.reporter, env=own.environment)
    except HostError as error:
        updated.unlink(missing_ok=True)
        raise UnreachableError(f"{own.where}: {packages}: {error.message}", log=log) from error
    if not _recent(updated):
        updated.touch()  # only now: apt-get update is content with lists that it could not fetch
    return said


def _recent(updated: Path) -> bool:
    return updated.exists() and abs(time.time() - updated.stat().st_mtime) < LISTS_LAST


def fetch(remote: Remote, target: Path, settings: Settings) -> None:
    """Fetch `remote` to `target` with apt's own transports; raises UnreachableError, WrongHashError."""
    log = settings.logs / "apt.log"
    with whole_or_nothing(target, remote.sha256) as part, step(settings.reporter, f"download {remote.name}", log):
        argv = (HELPER, "-q", "-o", "APT::Sandbox::User=root", "download-file", remote.uri, part)
        try:
            run(argv, reporter=settings.reporter, log=log)
        except HostError as error:
            raise UnreachableError(f"{remote.uri}: {error.message}", log=log) from error
        finally:
            part.with_name(f"{part.name}.FAILED").unlink(missing_ok=True)


def mirrors(settings: Settings) -> tuple[tuple[str, str], ...]:
    """The (URI, suite) pairs of Debian's own archive in this machine's apt configuration, in its order."""
    try:
        argv = ("apt-get", "indextargets", "--format", _TARGETS)
        known = _parse_targets(output(argv, reporter=settings.reporter))
        named = _parse_targets(output((*argv, "--no-release-info"), reporter=settings.reporter))
    except HostError as error:
        raise UnreachableError(f"apt: {error.message}") from error
    others = {(uri, release) for uri, release, _, origin in known if origin != "Debian"}
    pairs = [(uri, release) for uri, release, _, origin in known if origin == "Debian"] or [
        (uri, release)
        for uri, release, component, _ in named  # nothing was updated yet: go by the name, the signature will tell
        if component == "main" and _DEBIAN.fullmatch(release) and (uri, release) not in others
    ]
    return tuple(dict.fromkeys(pairs))


def _parse_targets(text: str) -> list[tuple[str, str, str, str]]:
    rows = (line.split("|") for line in text.splitlines())
    return [(row[0], row[1], row[2], row[3]) for row in rows if len(row) == 4]


def _configure(suite: str | None, settings: Settings) -> _Own:
    """Write the private apt.conf and, for a `suite` of Debian's, its sources.list; else the machine's sources stay."""
    own = _Own(settings.cache / "apt", f"Debian {suite}") if suite else _Own(settings.cache / "apt-own", "this machine")
    text = _sources(suite, settings) if suite else ""
    for part in ("state/lists/partial", "cache/archives/partial"):
        (own.root / part).mkdir(parents=True, exist_ok=True)
    (own.root / "status").touch()
    if suite and (not (own.root / "sources.list").exists() or (own.root / "sources.list").read_text() != text):
        (own.root / "sources.list").write_text(text)
        (own.root / "updated").unlink(missing_ok=True)
    (own.root / "apt.conf").write_text(_apt_conf(own.root, ours=bool(suite)))
    return own


def _sources(suite: str, settings: Settings) -> str:
    found = mirrors(settings)
    main = next((uri for uri, release in found if "-security" not in release), None)
    if main is None:
        raise UnreachableError("apt: this machine's configuration names no mirror of Debian")
    keyring = next((path for path in KEYRINGS if path.is_file()), None)
    if keyring is None:
        raise UnreachableError(f"{KEYRINGS[-1]}: missing", remedy="apt-get install debian-archive-keyring")
    signed = f"[signed-by={keyring}]"
    lines = [f"{kind} {signed} {main} {suite} main" for kind in ("deb", "deb-src")]
    lines += [f"deb {signed} {uri} {release} main" for uri, release in found if release.endswith("-security")]
    return "\n".join(lines) + "\n"


def _apt_conf(root: Path, *, ours: bool) -> str:
    """`ours`: with our own sources.list, not the machine's."""
    sources = {
        "Dir::Etc::SourceList": root / "sources.list",
        "Dir::Etc::SourceParts": "-",
        "Dir::Etc::Preferences": "/dev/null",
        "Dir::Etc::PreferencesParts": "/dev/null",
    }
    options = {
        "Dir::State": root / "state",
        "Dir::State::status": root / "status",
        "Dir::Cache": root / "cache",
        **(sources if ours else {}),
        "Acquire::Languages": "none",
        "APT::Sandbox::User": "root",  # _apt cannot enter a cache below a home that is closed to others
    }
    return "".join(f'{name} "{value}";\n' for name, value in options.items())
