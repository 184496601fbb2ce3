# SPDX-License-Identifier: GPL-2.0-or-later
"""What gcc, sparse, kernel-doc, objtool and ld say of a build, read from its log."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_SAID = re.compile(r"(?P<file>[^\s:]+)(?P<place>(?::\d+)*): (?P<kind>warning|error|fatal error): (?P<text>.+)")
_BROKEN = re.compile(
    r"\S+:\d+:(?:\d+:)? (?:fatal )?error: .+|.*: (?:undefined reference to|multiple definition of) .+"
    r"|ERROR: modpost: .+|\S+: error: objtool: .+|make\[?\d*\]?: \*\*\* No rule to make target .+"
)

_BY_DESIGN = re.compile(r"arch/x86/kvm/vmx/vmcs12\.c:\S+ warning: cast truncates bits from constant value .+")
"""What sparse says of each row in the table of vmcs12's fields, old or new: ROL16() cuts off what it rotates out."""


@dataclass(frozen=True)
class Warned:
    """A warning (or an error of sparse's): in which file of the tree, where (":LINE:COLUMN") and what."""

    file: str
    place: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}{self.place}: {self.text}"


def warnings(log: str, roots: Sequence[str], below: str = "") -> list[Warned]:
    """The warnings in `log`, each once though many files include a header.

    Names begin with one of `roots`, which all mean the tree's top, or are relative to `below` in the tree.
    """
    found: dict[Warned, None] = {}
    for line in log.splitlines():
        if match := _SAID.fullmatch(line.rstrip()):
            file = _cut(match["file"], roots)
            file = posixpath.normpath(posixpath.join(below, file) if file == match["file"] else file)
            file = file.removesuffix(".o") + ".c" if file.endswith(".o") else file
            found[Warned(file, match["place"], f"{match['kind']}: {match['text']}")] = None
    return [warned for warned in found if not _BY_DESIGN.fullmatch(str(warned))]


def new(found: Iterable[Warned], before: Iterable[Warned]) -> list[Warned]:
    """Those of `found` that `before` does not hold, or not as often; where in a file they are does not matter."""
    left = Counter((warned.file, warned.text) for warned in before)
    fresh = []
    for warned in found:
        left[warned.file, warned.text] -= 1
        if left[warned.file, warned.text] < 0:
            fresh.append(warned)
    return fresh


def first_error(log: str, roots: Sequence[str]) -> str | None:
    """The first line that says what of the source broke the build, if it was the source."""
    return next((_cut(line, roots) for line in log.splitlines() if _BROKEN.fullmatch(line.rstrip())), None)


def _cut(text: str, roots: Sequence[str]) -> str:
    return next((text.removeprefix(prefix) for prefix in roots if text.startswith(prefix)), text)
