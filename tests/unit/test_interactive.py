# SPDX-License-Identifier: GPL-2.0-or-later
"""`dvhbuild boot`'s shells, joined to pipes and to a terminal."""

import os
import sys
from types import SimpleNamespace

import pexpect
import pytest
from test_agent import FakeAgent, ready

from dvhbuild.frames import Frame, Type
from dvhbuild.hub import Hub
from dvhbuild.interactive import interact


@pytest.mark.parametrize("more", [False, True])
def test_a_reader_who_leaves_ends_the_shell_and_nothing_fails(monkeypatch, more):
    """Whether or not there is more to be typed."""
    answers = {
        Type.EXEC: lambda frame: (Frame(Type.DATA, frame.channel, b"said"), Frame(Type.DATA, frame.channel, b"more")),
        Type.CLOSE: lambda frame: (Frame(Type.CLOSE, frame.channel),),
    }
    typed, typing = os.pipe()
    read, written = os.pipe()
    os.close(read)
    if not more:
        os.close(typing)
    with Hub() as hub, os.fdopen(typed) as stdin, os.fdopen(written, "w") as stdout, monkeypatch.context() as patch:
        fake = FakeAgent(hub, answers)
        nest = SimpleNamespace(top=SimpleNamespace(agent=ready(hub, fake), number=1), machine=SimpleNamespace(hub=hub))
        patch.setattr(sys, "stdin", stdin)
        patch.setattr(sys, "stdout", stdout)
        with pytest.raises(BrokenPipeError):
            interact(nest)
        assert hub.failure is None
    assert Type.CLOSE in [frame.type for frame in fake.got]
    if more:
        os.close(typing)


TERMINAL = """
from types import SimpleNamespace
from dvhbuild.interactive import interact

class Shell:
    over, exit = False, None
    def __init__(self, number, rows, columns):
        self.number = number
        self.says("begun", rows, columns)
    def attach(self, on_data, on_close): ...
    def write(self, data): ...
    def resize(self, rows, columns): self.says("resized", rows, columns)
    def says(self, how, rows, columns): print(f"<L{self.number} {how} {rows} {columns}>", end="\\r\\n", flush=True)

def level(number):
    return SimpleNamespace(
        number=number, agent=SimpleNamespace(shell=lambda rows, columns, term: Shell(number, rows, columns))
    )

levels = [level(0), level(1)]
machine = SimpleNamespace(hub=SimpleNamespace(look=lambda: None))
interact(SimpleNamespace(levels=levels, top=levels[1], machine=machine))
"""


def test_shells_follow_the_size_of_the_terminal():
    script = ["-c", TERMINAL]
    environ = dict(os.environ)  # and not what readline, when pytest imports it, adds behind Python's back: COLUMNS
    with pexpect.spawn(
        sys.executable, script, timeout=20, encoding="utf-8", dimensions=(24, 80), env=environ
    ) as terminal:
        terminal.expect_exact("<L1 begun 24 80>")
        terminal.setwinsize(40, 100)
        terminal.expect_exact("<L1 resized 40 100>")
        terminal.send("\x1e")
        terminal.expect_exact("<L0 begun 40 100>")
        terminal.setwinsize(24, 80)
        terminal.expect_exact("<L0 resized 24 80>")
        terminal.send("\x1e")
        terminal.expect_exact("<L1 resized 24 80>")
        terminal.send("\x1d")
        terminal.expect(pexpect.EOF)
        assert "resized" not in terminal.before
