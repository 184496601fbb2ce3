# SPDX-License-Identifier: GPL-2.0-or-later
"""How steps look on a terminal: a live line with a clock while one runs, a plain line for each when nobody watches."""

from __future__ import annotations

import shlex
import threading
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column

from dvhbuild.errors import DvhError, GuestError
from dvhbuild.steps import Step

WORTH_A_LINE = 2.0
"""Seconds; a step that took less leaves no line on a terminal."""


class TerminalReporter:
    """Shows steps on `console` (standard error); with `verbose`, the commands as well. Close it when done.

    Any thread may tell it of its steps.
    """

    def __init__(self, console: Console, *, verbose: bool = False) -> None:
        self._console = console
        self._verbose = verbose
        self._tasks: dict[int, TaskID] = {}
        self._progress: Progress | None = None
        self._lock = threading.Lock()

    def started(self, step: Step) -> None:
        if not self._console.is_terminal:
            self._say(f"{step.title} ...{_where(step)}")
            return
        with self._lock:
            if self._progress is None:
                clock = TimeElapsedColumn(Column(no_wrap=True, min_width=7))  # a long path may be cut off, but not this
                columns = (SpinnerColumn(), clock, TextColumn("{task.description}"))
                self._progress = Progress(*columns, console=self._console, transient=True)
                self._progress.start()
            self._tasks[id(step)] = self._progress.add_task(f"{step.title}{_where(step)}", total=None)

    def advanced(self, step: Step, doing: str) -> None:
        with self._lock:
            if self._progress is not None and id(step) in self._tasks:
                self._progress.update(self._tasks[id(step)], description=f"{step.title}: {doing}{_where(step)}")

    def stopped(self, step: Step, seconds: float, error: BaseException | None) -> None:
        with self._lock:
            if self._progress is not None and (task := self._tasks.pop(id(step), None)) is not None:
                self._progress.remove_task(task)
                if not self._tasks:
                    self._end()
        if error is not None:
            self._say(f"{step.title}: failed after {seconds:.1f} s")
        elif seconds >= WORTH_A_LINE or not self._console.is_terminal:
            self._say(f"{step.title}: {seconds:.1f} s")

    def command(self, argv: tuple[str, ...], cwd: Path | None) -> None:
        if self._verbose:
            self._say(f"+ {f'cd {shlex.quote(str(cwd))} && ' if cwd else ''}{shlex.join(argv)}")

    def remark(self, text: str) -> None:
        self._say(text)

    def close(self) -> None:
        with self._lock:
            self._end()

    def _end(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
            self._tasks.clear()

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def _where(step: Step) -> str:
    return f"  ({step.log})" if step.log else ""


def explain(error: DvhError, console: Console, command: str | None = None) -> None:
    """Print `error` as one line, then its remedy, the guest's last lines, the log and what repeats it, if any."""
    lines = [f"dvhbuild: {error.message}"]
    if error.remedy:
        lines.append(f"  try: {error.remedy}")
    if isinstance(error, GuestError):
        lines += [f"  L{error.level}| {line}" for line in error.tail]
    if error.log:
        lines.append(f"  log: {error.log}")
    if command:
        lines.append(f"  again: {command}")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
