# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's packages for any Debian suite, through an apt state directory of our own.

The mirror, proxies and transports are the machine's; its package lists and installed packages are neither used nor
changed, and no root is needed. What apt says of a file stands on the signature of the suite's Release file.
"""

from __future__ import annotations

import re
import time
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
    log = settings.logs / "apt.log"
    updated = settings.cache / "apt" / "updated"
    with locked(settings, "apt"):
        environment = _configure(suite, settings)
        if not _recent(updated):
            with step(settings.reporter, f"update the package lists of Debian {suite}", log):
                run(("apt-get", "update", "-q"), reporter=settings.reporter, log=log, env=environment)
        words = ("source", "--only-source") if source else ("download",)
        argv = ("apt-get", *words, "--print-uris", package)
        try:
            said = output(argv, reporter=settings.reporter, env=environment)
        except HostError as error:
            updated.unlink(missing_ok=True)
            raise UnreachableError(f"Debian {suite}: {package}: {error.message}", log=log) from error
        if not _recent(updated):
            updated.touch()  # only now: apt-get update is content with lists that it could not fetch
    return tuple(Remote(m["uri"], unquote(m["name"]), m["sha256"]) for m in _FILE.finditer(said))


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


def _configure(suite: str, settings: Settings) -> dict[str, str]:
    """Write the private apt.conf and sources.list; returns the environment that selects them."""
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
    root = settings.cache / "apt"
    for part in ("state/lists/partial", "cache/archives/partial"):
        (root / part).mkdir(parents=True, exist_ok=True)
    (root / "status").touch()
    text = "\n".join(lines) + "\n"
    if not (root / "sources.list").exists() or (root / "sources.list").read_text() != text:
        (root / "sources.list").write_text(text)
        (root / "updated").unlink(missing_ok=True)
    (root / "apt.conf").write_text(_apt_conf(root))
    return {"APT_CONFIG": str(root / "apt.conf")}


def _apt_conf(root: Path) -> str:
    options = {
        "Dir::State": root / "state",
        "Dir::State::status": root / "status",
        "Dir::Cache": root / "cache",
        "Dir::Etc::SourceList": root / "sources.list",
        "Dir::Etc::SourceParts": "-",
        "Dir::Etc::Preferences": "/dev/null",
        "Dir::Etc::PreferencesParts": "/dev/null",
        "Acquire::Languages": "none",
        "APT::Sandbox::User": "root",  # _apt cannot enter a cache below a home that is closed to others
    }
    return "".join(f'{name} "{value}";\n' for name, value in options.items())
