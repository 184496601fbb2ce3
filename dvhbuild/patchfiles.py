# SPDX-License-Identifier: GPL-2.0-or-later
"""The file formats of a series: its list, and patches as mails, read as `git am` reads them. No git in here."""

from __future__ import annotations

import email
import email.header
import email.utils
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from email.message import Message
from pathlib import Path

from dvhbuild.errors import UserError

SERIES = "series"

_APPLIES = re.compile(r"#\s*[Aa]pplies to\s+(?P<pattern>[\d.*]*[\d*])")
_NAME = re.compile(r"[\w+-][\w.+-]*")
_PREFIX = re.compile(r"(?:\s|:|re:|\[[^\]]*\])+", re.IGNORECASE)
_PATCH_BEGINS = re.compile(rb"^(?:diff -|Index: |---(?:[ \t]*$| \S))", re.MULTILINE)
_IN_BODY = re.compile(r"(From|Subject|Date): *(.*)", re.IGNORECASE)
_PERSON = re.compile(
    r"(?P<name>.*?)\s*<(?P<email>[^<>\s]+@[^<>\s]+)>|(?P<bare>[^<>\s]+@[^<>\s]+)(?:\s+\((?P<comment>.*)\))?"
)
_HUNK = re.compile(r"^@@ -(\d+)")


@dataclass(frozen=True)
class Series:
    """A directory of patches in order; `applies_to` is a pattern of versions, `digest` covers list and patches."""

    directory: Path
    applies_to: str
    names: tuple[str, ...]
    digest: str

    @property
    def file(self) -> Path:
        return self.directory / SERIES

    def first(self, names: tuple[str, ...]) -> Series:
        """The same with no more than its first patches, `names`; raises UserError if it begins with others."""
        if self.names[: len(names)] != names:
            raise UserError(f"{self.file}: does not begin with {', '.join(names)}")
        return replace(self, names=names, digest=hashlib.sha256("\n".join((self.digest, *names)).encode()).hexdigest())


@dataclass(frozen=True)
class PatchMail:
    """A patch as `git am` would commit it: `time` in seconds since 1970, `offset` from UTC in minutes."""

    author: str
    email: str
    time: int
    offset: int
    message: str
    diff: bytes


def load_series(directory: Path) -> Series:
    """Read `directory`/series: a comment "# Applies to VERSIONS", then the patches' names, one a line.

    Raises UserError, with file and line, for a name that is malformed, double or names no file.
    """
    file = directory / SERIES
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: {error}") from error
    names: list[str] = []
    total = hashlib.sha256()
    for number, name in _entries(text):
        if not _NAME.fullmatch(name):
            raise UserError(f"{file}:{number}: {name!r} is not a file name")
        if name in names:
            raise UserError(f"{file}:{number}: {name} is listed twice")
        if not (directory / name).is_file():
            raise UserError(
                f"{file}:{number}: {name}: no such file", remedy=f"add {directory / name} or remove the line"
            )
        names.append(name)
        total.update(f"{name}\0{hashlib.sha256((directory / name).read_bytes()).hexdigest()}\0".encode())
    match = _APPLIES.search(text)
    if not match:
        raise UserError(
            f"{file}: does not say what it applies to", remedy='begin it with a line like "# Applies to 6.12.*"'
        )
    return Series(directory, match["pattern"], tuple(names), total.hexdigest())


def _entries(text: str) -> list[tuple[int, str]]:
    lines = ((number, line.strip()) for number, line in enumerate(text.split("\n"), 1))
    return [(number, line) for number, line in lines if line and not line.startswith("#")]


def rewrite_list(text: str, names: Sequence[str], renamed: Mapping[str, str]) -> str:
    """The series file `text` with `names` as its entries, its comments kept; `renamed` maps old names to new ones.

    The lines before the first entry stay at the top; a comment between entries stays before the entry that it
    precedes, or before the next that is left.
    """
    if [name for _, name in _entries(text)] == list(names):
        return text
    header, before, tail = _split_list(text)
    comments: dict[str, list[str]] = {}
    held: list[str] = []
    for old, lines in before.items():
        held += lines
        if renamed.get(old) in names:
            comments[renamed[old]] = held
            held = []
    lines = list(header)
    for name in names:
        lines += [*comments.get(name, []), name]
    return "".join(f"{line}\n" for line in [*lines, *held, *tail])


def _split_list(text: str) -> tuple[list[str], dict[str, list[str]], list[str]]:
    """The header, each entry with the comment lines before it, and what follows the last entry."""
    header: list[str] = []
    before: dict[str, list[str]] = {}
    held: list[str] = []
    for line in text.splitlines():
        if line.strip() and not line.strip().startswith("#"):
            header, held = (header, held) if before else (held, [])
            before[line.strip()] = held
            held = []
        else:
            held.append(line)
    return (header, before, held) if before else (held, {}, [])


def parse_mail(data: bytes, name: str) -> PatchMail:
    """Read the patch mail `data` as `git am` does: author, date, message without prefixes, and the diff.

    Raises UserError that names the patch as `name` if it has no author, date, subject or diff.
    """
    data = data.replace(b"\r\n", b"\n")
    mail = email.message_from_bytes(data)
    payload = _payload(mail, data)
    begin = _PATCH_BEGINS.search(payload)
    if not begin or not re.search(
        rb"^(?:@@ |GIT binary patch|rename |new file |deleted file |old mode )", payload, re.MULTILINE
    ):
        raise UserError(f"{name}: no diff in it")
    headers, body = _in_body(_text(payload[: begin.start()], mail))
    sender, subject, date = (headers.get(key) or _header(mail, key) for key in ("from", "subject", "date"))
    author, address = _person(sender)
    when = email.utils.parsedate_tz(date)
    subject = " ".join(_PREFIX.sub("", _decode(subject), count=1).split()) if subject else ""
    for value, what in ((address, "From"), (when, "Date"), (subject, "Subject")):
        if not value:
            raise UserError(
                f"{name}: no usable {what}: line", remedy="write patches with git format-patch or series export"
            )
    assert when is not None
    message = _clean(f"{subject}\n\n{body}")
    offset = (when[9] or 0) // 60
    return PatchMail(author, address, email.utils.mktime_tz(when), offset, message, payload[begin.start() :])


def failed_hunk(diff: bytes, file: str, line: int) -> str | None:
    """The header of the hunk of `file` in `diff` whose old position is `line`."""
    inside = False
    for text in diff.decode(errors="replace").splitlines():
        if text.startswith("diff --git "):
            inside = text.endswith(f" b/{file}") or f" a/{file} " in text
        elif inside and (match := _HUNK.match(text)) and int(match[1]) == line:
            return text
    return None


def _payload(mail: Message, data: bytes) -> bytes:
    """The body's bytes as written, decoded only where a transfer encoding says so."""
    if str(mail.get("Content-Transfer-Encoding", "")).lower() in ("base64", "quoted-printable"):
        payload = mail.get_payload(decode=True)
        return payload if isinstance(payload, bytes) else b""
    return data.partition(b"\n\n")[2]


def _text(data: bytes, mail: Message) -> str:
    for charset in (mail.get_content_charset() or "utf-8", "utf-8"):
        try:
            return data.decode(charset)
        except (LookupError, UnicodeDecodeError):
            continue
    return data.decode("latin-1")


def _header(mail: Message, name: str) -> str:
    """The header unfolded, still encoded; bytes beyond ASCII are UTF-8."""
    raw = next((str(value) for key, value in mail.raw_items() if key.lower() == name), "")
    text = raw.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return re.sub(r"\n[ \t]+", " ", text)


def _person(sender: str) -> tuple[str, str]:
    """Name and address; like git, the address in place of a name that is none or far too long."""
    match = _PERSON.fullmatch(sender.strip())
    if not match:
        return "", ""
    name = match["name"] or match["comment"] or ""
    if name.startswith('"') and name.endswith('"'):
        name = re.sub(r"\\(.)", r"\1", name[1:-1])
    name = " ".join(_decode(name).split())
    address = match["email"] or match["bare"]
    return (address if not name or len(name.encode()) > 60 or re.search("[@<>]", name) else name), address


def _decode(text: str) -> str:
    """Resolve RFC 2047 encoded words."""
    if "=?" not in text:
        return text
    try:
        return str(email.header.make_header(email.header.decode_header(text)))
    except (LookupError, ValueError):
        return text


def _in_body(body: str) -> tuple[dict[str, str], str]:
    """The From, Subject and Date lines that a body may begin with, and the rest."""
    headers: dict[str, str] = {}
    lines = body.lstrip("\n").split("\n")
    while lines and (match := _IN_BODY.fullmatch(lines[0])):
        headers[match[1].lower()] = match[2]
        del lines[0]
    return headers, "\n".join(lines)


def _clean(text: str) -> str:
    """What git's stripspace does: no trailing blanks, no double empty lines, none at either end."""
    lines = "\n".join(line.rstrip(" \t\r") for line in text.split("\n"))  # what git takes for blanks, in any locale
    return re.sub(r"\n{3,}", "\n\n", lines).strip("\n") + "\n"
