# SPDX-License-Identifier: GPL-2.0-or-later
"""iperf3: traffic that is not of our making. Debian's own, with the libraries and the loader that it is linked to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dvhbuild.errors import HostError
from dvhbuild.process import output
from dvhbuild.recipes import programs
from dvhbuild.recipes.common import recipe_digest
from dvhbuild.settings import Settings
from dvhbuild.steps import Silent
from dvhbuild.store import digest_files

PROGRAM = Path("/usr/bin/iperf3")
WHERE = "/dvh/iperf"
"""Where the guests have it."""


def parts() -> tuple[Path, ...]:
    """The host's copies: the program, its loader and libraries; raises HostError if it is missing."""
    if not PROGRAM.is_file():
        raise HostError(f"{PROGRAM}: not installed", remedy="dvhbuild doctor --install")
    said = output(["ldd", PROGRAM], reporter=Silent())
    remedy = "apt-get install --reinstall iperf3, and what it depends on"
    return (PROGRAM, *programs.libraries(PROGRAM, said, remedy))


@dataclass(frozen=True)
class IperfRecipe:
    """iperf3 and a script that runs it, for guests that have no libraries of their own."""

    name: str = "iperf"

    def inputs(self) -> Mapping[str, str]:
        return {"files": digest_files(*parts()), "recipe": recipe_digest(__file__, programs.__file__)}

    def build(self, out: Path, _settings: Settings) -> None:
        """Make `out`/iperf, which guests have as WHERE, and `out`/iperf3."""
        (out / "iperf").mkdir()
        found = parts()
        programs.copy(found, out / "iperf")
        programs.write_script(out / "iperf3", PROGRAM, found, WHERE)
