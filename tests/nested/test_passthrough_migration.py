# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU saves L1 and restores it, on the same L0, while L2 pings L0 by a device of L0's."""

import re

import pytest

from dvhbuild import guests
from dvhbuild.agent import Agent
from dvhbuild.console import Log
from dvhbuild.lab import bring_up
from dvhbuild.nest import watch_guest
from dvhbuild.stack import load_stack

pytestmark = pytest.mark.nested

PINGS = 400
"""So many that L1 is saved and restored meanwhile."""
SOME = 20
"""Pings on either side of the pause, at least."""

MONITOR = "/run/l1.monitor"
STATE = "/run/l1.state"
PACKETS = "/sys/class/net/tap1/statistics/rx_packets"

OPTIONS = (
    *("-chardev", f"pipe,id=monitor,path={MONITOR}", "-mon", "monitor"),
    *("-global", "migration.store-global-state=off"),
)

# As one command: while L0 idles, the last ping is sent sooner than we can say anything.
SAVE = f"""
    cat {MONITOR}.out > /run/l1.said &
    before=$(cat {PACKETS})
    until [ $(cat {PACKETS}) -gt $((before + {SOME})) ]; do usleep 10000; done
    echo stop > {MONITOR}.in
    echo migrate file:{STATE} > {MONITOR}.in
    cat {PACKETS}
    echo quit > {MONITOR}.in
    wait; ! grep Error /run/l1.said >&2"""


def with_options(stack, options):
    l1 = stack.levels[1].model_copy(update={"qemu": (*stack.levels[1].qemu, *options)})
    return stack.model_copy(update={"levels": (stack.levels[0], l1, *stack.levels[2:])})


def forget(channel):
    """Let a guest's QEMU end, and its agent's channels with it, without a failure."""
    channel.attach(lambda _data: None, lambda _reason: None)


def test_l2_pings_on_when_l1_is_restored(builder, tmp_path):
    stack = with_options(load_stack("vp").configured("on"), OPTIONS)
    with bring_up(builder, stack, 0, tmp_path) as nest:
        hub, l0 = nest.machine.hub, nest.levels[0].agent
        l0.check(f"mkfifo {MONITOR}.in {MONITOR}.out")
        nest.boot(2)
        _, l1, l2 = nest.levels
        said = l0.check("dd if=/run/disk bs=64k count=32 2>/dev/null | sha256sum")
        l2.agent.check(f"ping -i 0.1 -c {PINGS} 10.0.1.1 > /run/said 2>&1 &")
        states = l2.agent.state(30.0), l1.agent.state(30.0)
        forget(l1.agent.take("l2"))
        forget(l1.qemu)
        packets = int(l0.check(SAVE, timeout=300.0))
        l0.wait_exit(l1.qemu, 30.0)

        again = with_options(stack, ("-incoming", f"file:{STATE}"))
        sockets = [guests.Sockets(number) for number in range(3)]
        qemu = l0.start(guests.linux(1, again.levels[1]), label="l1")
        watch_guest(hub, l0, qemu, 1)
        log = Log(hub, l0.connect(sockets[1].log, timeout=60.0), tmp_path / "l1-restored.log", level=1)
        agent = Agent(hub, l0.connect(sockets[1].agent, timeout=60.0), level=1, log=log, state=states[1])
        agent.wait_ready(60.0)
        l0.check(guests.pin(1, stack.levels[0].cpus))
        watch_guest(hub, agent, agent.take("l2"), 2)
        log = Log(hub, agent.take(sockets[2].log), tmp_path / "l2-restored.log", level=2)
        agent = Agent(hub, agent.take(sockets[2].agent), level=2, log=log, state=states[0])
        agent.wait_ready(60.0)

        text = agent.check("until grep received /run/said; do sleep 1; done", timeout=300.0)
        sent, received = map(int, re.findall(r"(\d+) packets", text))
        assert sent == PINGS
        assert received >= PINGS - 1, agent.check("cat /run/said")  # one may have been on its way
        assert int(l0.check(f"cat {PACKETS}")) >= packets + SOME
        assert agent.check("dd if=/dev/vdb bs=64k count=32 iflag=direct 2>/dev/null | sha256sum") == said
        assert "0% packet loss" in agent.check("ping -q -c 20 -i 0.1 10.0.0.1")
