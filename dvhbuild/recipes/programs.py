# SPDX-License-Identifier: GPL-2.0-or-later
"""A distribution's programs for guests that have no libraries: each with those that it is linked to, and the loader."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from dvhbuild.errors import HostError

CANCELLING = "libgcc_s.so.1"
"""What libc loads when a thread is cancelled (iperf3's since 3.16) or ends (Apache's, memcached's)."""

_LIBRARY = re.compile(r"(/\S+) \(0x[0-9a-f]+\)$", re.MULTILINE)
_MISSING = re.compile(r"^\s*(.+ => not found)$", re.MULTILINE)


def libraries(program: Path, said: str, remedy: str) -> tuple[Path, ...]:
    """The files that `program` is linked to, of what its loader (ldd) said, and what libc loads at the end of a thread.

    Raises HostError, with `remedy`, if one is missing.
    """
    if missing := _MISSING.search(said):
        raise HostError(f"{program}: {missing[1]}", remedy=remedy)
    linked = tuple(Path(path) for path in _LIBRARY.findall(said))
    return (*linked, *(path.with_name(CANCELLING) for path in linked if path.name == "libc.so.6"))


def copy(parts: Iterable[Path], directory: Path) -> None:
    """Copy programs, libraries and the loader into `directory`, which guests have somewhere."""
    for path in parts:
        shutil.copy(path, directory / path.name)


def write_script(script: Path, program: Path, parts: Iterable[Path], where: str, *options: str) -> None:
    """Write a script that runs `program` with the loader that is among `parts`, all of which guests have in `where`.

    `options` are more of the loader's.
    """
    loader = next(path.name for path in parts if path.name.startswith("ld-"))
    words = (f"{where}/{loader}", "--library-path", where, *options, f"{where}/{program.name}")
    script.write_text(f'#!/bin/sh\nexec {" ".join(words)} "$@"\n')
    script.chmod(0o755)
