# SPDX-License-Identifier: GPL-2.0-or-later
"""What a person reads: one line for a failure, with its remedy, log and the line that repeats it."""

import io
import threading
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress

from dvhbuild.errors import GuestError, UserError
from dvhbuild.steps import Step, step
from dvhbuild.terminal import TerminalReporter, explain


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=200)


def test_steps_are_plain_lines_when_nobody_watches(console):
    reporter = TerminalReporter(console)
    with step(reporter, "build [x]", Path("/log")):
        pass
    with pytest.raises(ValueError), step(reporter, "break"):
        raise ValueError
    assert console.file.getvalue().splitlines() == [
        "build [x] ...  (/log)",
        "build [x]: 0.0 s",
        "break ...",
        "break: failed after 0.0 s",
    ]


@pytest.mark.parametrize("verbose", [True, False])
def test_commands_are_shown_when_asked_for(console, verbose):
    TerminalReporter(console, verbose=verbose).command(("make", "-C", "a b"), Path("/d"))
    assert console.file.getvalue() == ("+ cd /d && make -C 'a b'\n" if verbose else "")


def test_a_failure_is_explained(console):
    explain(UserError("x.toml: bad", remedy="mend it", log=Path("/log")), console, "dvhbuild verify")
    assert console.file.getvalue().splitlines() == [
        "dvhbuild: x.toml: bad",
        "  try: mend it",
        "  log: /log",
        "  again: dvhbuild verify",
    ]


def test_a_guests_last_words_are_shown_with_its_level(console):
    explain(GuestError("L1 panicked", level=1, tail=("one", "two")), console, "x")
    assert "  L1| two" in console.file.getvalue().splitlines()


def test_the_clock_is_seen_however_long_the_path_of_the_log():
    terminal = Console(file=io.StringIO(), width=60, force_terminal=True, no_color=True, color_system=None)
    reporter = TerminalReporter(terminal)
    with step(reporter, "build", Path("/long" * 30)):
        pass
    assert "0:00:00 build  (/long/long" in terminal.file.getvalue()


def test_a_step_that_starts_in_one_thread_while_the_last_ends_in_another_is_shown(monkeypatch):
    terminal = Console(file=io.StringIO(), width=60, force_terminal=True, no_color=True, color_system=None)
    reporter = TerminalReporter(terminal)
    first, second, third = Step("first"), Step("second"), Step("third")
    other = threading.Thread(target=reporter.started, args=(second,))

    class Slow(Progress):
        def stop(self):
            if not other.ident:
                other.start()
                other.join(0.3)
            super().stop()

    monkeypatch.setattr("dvhbuild.terminal.Progress", Slow)
    reporter.started(first)
    reporter.stopped(first, 0, None)
    other.join()
    reporter.started(third)
    reporter.advanced(second, "doing well")
    reporter.close()
    assert "second: doing well" in terminal.file.getvalue()
