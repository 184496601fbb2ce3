# SPDX-License-Identifier: GPL-2.0-or-later
"""Windows on a nested guest: it stands still while it is held, and goes on, whatever becomes of who holds it."""

import signal

import pytest

from dvhbuild import counters, trace
from dvhbuild.errors import GuestError
from dvhbuild.lab import bring_up
from dvhbuild.window import open_windows

pytestmark = pytest.mark.nested

TICKS = "cut -d' ' -f14,15 /proc/{pid}/stat; sleep 0.5; cut -d' ' -f14,15 /proc/{pid}/stat"
"""The time that a process and its vCPUs have used, twice."""


@pytest.fixture
def nest(builder, stack, tmp_path):
    """L1 that computes, and L0 sees it do that."""
    with bring_up(builder, stack, 1, tmp_path) as nest:
        nest.top.agent.check("while :; do :; done > /dev/null 2>&1 &")
        yield nest


def runs(nest):
    before, after = nest.levels[0].agent.check(TICKS.format(pid=nest.pid(1))).splitlines()
    return before != after


def released(server):
    server.write(b"release\n")


def killed(server):
    server.kill(signal.SIGKILL)


@pytest.mark.parametrize("end", [released, killed])
def test_a_guest_stands_still_while_it_is_held(nest, end):
    said = bytearray()
    server = nest.levels[0].agent.start("exec kvmwindow serve", with_input=True)
    server.attach(said.extend, lambda _reason: None)
    server.write(f"hold {nest.pid(1)}\n".encode())
    nest.machine.hub.wait(lambda: b"\ndone " in said or None, 60.0, "a snapshot", level=0)
    held = runs(nest)
    end(server)
    assert (held, runs(nest)) == (False, True)
    server.close()


def test_windows_that_follow_each_other_are_each_their_own(nest):
    pid = nest.pid(1)
    with open_windows(nest, with_l1=False) as windows:
        ends = [(windows.begin(1024), windows.end(), windows.trace()) for _ in range(2)]
    assert all(before.pid == after.pid == pid for before, after, _ in ends)
    (_, first, _), (second, _, _) = ends
    assert first.tsc < second.tsc
    for before, after, data in ends:
        counters.agree(before, after, trace.locate(trace.read(data), counters.levels(before)))


def test_what_it_cannot_do_is_told_in_its_own_words(nest):
    with open_windows(nest, with_l1=False) as windows, pytest.raises(GuestError, match="kvmwindow begin") as caught:
        windows.begin(0)
    assert caught.value.tail[-1] == f"kvmwindow: no such command: begin {nest.pid(1)} 0"
