# SPDX-License-Identifier: GPL-2.0-or-later
"""iperf3: traffic that is not of our making. Debian's own, with the libraries and the loader that it is linked to."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dvhbuild.errors import HostError
from dvhbuild.process import output
from dvhbuild.recipes.common import recipe_digest
from dvhbuild.settings import Settings
from dvhbuild.steps import Silent
from dvhbuild.store import digest_files

PROGRAM = Path("/usr/bin/iperf3")
WHERE = "/dvh/iperf"
"""Where the guests have it."""

CANCELLING = "libgcc_s.so.1"
"""iperf3 has threads since 3.16, and ends them by pthread_cancel()."""

_LIBRARY = re.compile(r"(/\S+) \(0x[0-9a-f]+\)$", re.MULTILINE)


def libraries(said: str) -> tuple[Path, ...]:
    """The files that a program is linked to, of what ldd said, and what libc loads when a thread is cancelled.

    Raises HostError if one is missing.
    """
    if missing := re.search(r"^\s*(.+ => not found)$", said, re.MULTILINE):
        raise HostError(f"{PROGRAM}: {missing[1]}", remedy="apt-get install --reinstall iperf3, and what it depends on")
    linked = tuple(Path(path) for path in _LIBRARY.findall(said))
    return (*linked, *(path.with_name(CANCELLING) for path in linked if path.name == "libc.so.6"))


def parts() -> tuple[Path, ...]:
    """The host's copies: the program, its loader and libraries; raises HostError if it is missing."""
    if not PROGRAM.is_file():
        raise HostError(f"{PROGRAM}: not installed", remedy="dvhbuild doctor --install")
    return (PROGRAM, *libraries(output(["ldd", PROGRAM], reporter=Silent())))


@dataclass(frozen=True)
class IperfRecipe:
    """iperf3 and a script that runs it, for guests that have no libraries of their own."""

    name: str = "iperf"

    def inputs(self) -> Mapping[str, str]:
        return {"files": digest_files(*parts()), "recipe": recipe_digest(__file__)}

    def build(self, out: Path, _settings: Settings) -> None:
        """Make `out`/iperf, which guests have as WHERE, and `out`/iperf3."""
        (out / "iperf").mkdir()
        found = parts()
        for path in found:
            shutil.copy(path, out / "iperf" / path.name)
        loader = next(path.name for path in found if path.name.startswith("ld-"))
        script = out / "iperf3"
        script.write_text(f'#!/bin/sh\nexec {WHERE}/{loader} --library-path {WHERE} {WHERE}/iperf3 "$@"\n')
        script.chmod(0o755)
