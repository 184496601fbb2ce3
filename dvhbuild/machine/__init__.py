# SPDX-License-Identifier: GPL-2.0-or-later
"""Machines on which L0 runs. Each is a context manager that starts one and ends it; all have the same face."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from dvhbuild.hub import Hub
from dvhbuild.lines import Transport


class Machine(Protocol):
    """A machine that runs: L0's two lines, and its life.

    `console` carries L0's log and `uplink` its agent; `hub` reads both, and fails with the machine's own error when it
    dies. `directory` is where its logs are.
    """

    hub: Hub
    directory: Path

    @property
    def console(self) -> Transport: ...

    @property
    def uplink(self) -> Transport: ...

    def save(self, directory: Path) -> None:
        """Save the machine's state as `directory`; raises HostError if the machine cannot, or could not."""
