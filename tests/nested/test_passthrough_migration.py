# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU saves L1 and restores it, on the same L0, while L2 pings L0 by a device of L0's."""

import re

import pytest
from reincarnation import LISTEN, QUIT, SAVE, die, mortal, prepare, revive

from dvhbuild import guests
from dvhbuild.agent import Agent
from dvhbuild.console import Log
from dvhbuild.lab import bring_up
from dvhbuild.stack import load_stack

pytestmark = pytest.mark.nested

PINGS = 150
"""So many that L1 is saved and restored meanwhile."""
SOME = 20
"""Pings on either side of the pause, at least."""

PACKETS = "/sys/class/net/tap1/statistics/rx_packets"

SAVE_BETWEEN_PINGS = f"""
    {LISTEN}
    before=$(cat {PACKETS})
    until [ $(cat {PACKETS}) -gt $((before + {SOME})) ]; do usleep 10000; done
    {SAVE}
    cat {PACKETS}
    {QUIT}"""


def test_l2_pings_on_when_l1_is_restored(builder, tmp_path):
    with bring_up(builder, mortal(load_stack("vp").configured("on")), 0, tmp_path) as nest:
        prepare(nest)
        nest.boot(2)
        l0, l2 = nest.levels[0].agent, nest.top.agent
        disk = l0.check("dd if=/run/disk bs=64k count=32 2>/dev/null | sha256sum")
        l2.check(f"ping -i 0.1 -c {PINGS} 10.0.1.1 > /run/said 2>&1 &")
        state_of_l2 = l2.state(30.0)
        packets, state = die(nest, SAVE_BETWEEN_PINGS)

        l1, sockets = revive(nest, state), guests.Sockets(2)
        log = Log(nest.machine.hub, l1.take(sockets.log), tmp_path / "l2-restored.log", level=2)
        l2 = Agent(nest.machine.hub, l1.take(sockets.agent), level=2, log=log, state=state_of_l2)
        l2.wait_ready(60.0)
        text = l2.check("until grep received /run/said; do sleep 1; done", timeout=300.0)
        sent, received = map(int, re.findall(r"(\d+) packets", text))
        assert sent == PINGS
        assert received >= PINGS - 1, l2.check("cat /run/said")  # one may have been on its way
        assert int(l0.check(f"cat {PACKETS}")) >= int(packets) + SOME
        assert l2.check("dd if=/dev/vdb bs=64k count=32 iflag=direct 2>/dev/null | sha256sum") == disk
        assert "0% packet loss" in l2.check("ping -q -c 20 -i 0.1 10.0.0.1")
