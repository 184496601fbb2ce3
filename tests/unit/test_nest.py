# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine is saved in silence: what a console says meanwhile would be missing on the other side."""

import json
from types import SimpleNamespace

import pytest

from dvhbuild.errors import HostError
from dvhbuild.nest import RESUME, Nest
from dvhbuild.stack import load_stack


class Level:
    """A level whose agent has L1's log among its channels, and whose console says something in some of the saves."""

    def __init__(self, talks):
        self.agent = self
        self.received = 0
        self.saves = 0
        self.talks = talks

    def state(self, _seconds):
        channels = [{"label": "/run/l1.log", "received": self.received}, {"label": "l1", "received": 7 * self.received}]
        return {"channels": channels}

    def save(self, directory):
        directory.mkdir()
        (directory / "cpu").write_text(str(self.saves))
        self.received += self.talks(self.saves)
        self.saves += 1


def save(level, quiet, directory):
    Nest(SimpleNamespace(save=level.save), load_stack("base-2cpu"), quiet, [level]).save(directory)


def test_a_save_in_which_a_console_talked_is_done_again(quiet, tmp_path):
    level = Level(lambda number: number == 0)
    save(level, quiet, tmp_path / "state")
    assert (tmp_path / "state" / "cpu").read_text() == "1"
    (state,) = json.loads((tmp_path / "state" / RESUME).read_text())
    assert state["agent"]["channels"][0]["received"] == 1


def test_a_console_that_never_falls_silent_is_told(quiet, tmp_path):
    level = Level(lambda _number: True)
    with pytest.raises(HostError, match="its consoles do not fall silent"):
        save(level, quiet, tmp_path / "state")
    assert level.saves == 3
    assert list(tmp_path.glob("state*")) == []


class Shell:
    """A level whose agent records what it is told to run."""

    def __init__(self, number):
        self.agent, self.number, self.said = self, number, []

    def check(self, command):
        self.said.append(command)


def test_the_level_below_is_prepared_for_a_guest_once(quiet):
    stack = load_stack("virtio")
    levels = [Shell(0), Shell(1)]
    nest = Nest(SimpleNamespace(), stack, quiet, levels)
    for _ in range(2):
        nest.prepare(2)
    assert (levels[0].said, levels[1].said) == ([], list(stack.levels[2].host))
