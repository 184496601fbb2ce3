# SPDX-License-Identifier: GPL-2.0-or-later
"""Steps of work as events: a stage says what it does, a reporter decides how that is shown."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Step:
    """One piece of work that may take more than a second or two; `log` is where its output goes."""

    title: str
    log: Path | None = None


class Reporter(Protocol):
    """Hears of steps, of the commands that they run, and of remarks worth a line."""

    def started(self, step: Step) -> None: ...

    def advanced(self, step: Step, doing: str) -> None: ...

    def stopped(self, step: Step, seconds: float, error: BaseException | None) -> None: ...

    def command(self, argv: tuple[str, ...], cwd: Path | None) -> None: ...

    def remark(self, text: str) -> None: ...


class Silent:
    """A reporter that tells nobody."""

    def started(self, step: Step) -> None: ...

    def advanced(self, step: Step, doing: str) -> None: ...

    def stopped(self, step: Step, seconds: float, error: BaseException | None) -> None: ...

    def command(self, argv: tuple[str, ...], cwd: Path | None) -> None: ...

    def remark(self, text: str) -> None: ...


@contextmanager
def step(reporter: Reporter, title: str, log: Path | None = None) -> Iterator[Step]:
    """Report the body of the `with` as one step, whether it succeeds or fails."""
    current = Step(title, log)
    begin = time.monotonic()
    reporter.started(current)
    error: BaseException | None = None
    try:
        yield current
    except BaseException as caught:
        error = caught
        raise
    finally:
        reporter.stopped(current, time.monotonic() - begin, error)
