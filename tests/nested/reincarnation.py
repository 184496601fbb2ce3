# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU stops and saves L1, and ends; another one, on the same L0, goes on with it."""

from dvhbuild import guests
from dvhbuild.agent import Agent
from dvhbuild.console import Log
from dvhbuild.nest import watch_guest

MONITOR = "/run/l1.monitor"
STATE = "/run/l1.state"

_OPTIONS = (
    *("-chardev", f"pipe,id=monitor,path={MONITOR}", "-mon", "monitor"),
    *("-global", "migration.store-global-state=off"),
)
"""A VM that was stopped runs when it is restored, unless its state says that it was stopped."""

LISTEN = f"cat {MONITOR}.out > /run/l1.said &"
SAVE = f"echo stop > {MONITOR}.in; echo migrate file:{STATE} > {MONITOR}.in"
QUIT = f"echo quit > {MONITOR}.in; wait; ! grep Error /run/l1.said >&2"
"""For the shell of L0, in one command: while L0 idles, whatever is awaited comes sooner than we can say anything."""


def with_options(stack, options):
    """The stack with further options of the QEMU of each level in `options`."""
    levels = [
        level.model_copy(update={"qemu": (*level.qemu, *options.get(number, ()))})
        for number, level in enumerate(stack.levels)
    ]
    return stack.model_copy(update={"levels": tuple(levels), "configs": {}})


def mortal(stack):
    """The stack with an L1 that can be told to stop, to be saved, and to end; `prepare` L0 for it."""
    return with_options(stack, {1: _OPTIONS})


def prepare(nest):
    nest.levels[0].agent.check(f"mkfifo {MONITOR}.in {MONITOR}.out")


def die(nest, command):
    """Run `command` in L0, in which L1's QEMU ends; returns what it printed, and the state of L1's agent."""
    l0, l1 = nest.levels[0].agent, nest.levels[1]
    state = l1.agent.state(30.0)
    for channel in (l1.agent.take("l2"), l1.qemu):
        channel.attach(lambda _data: None, lambda _reason: None)  # their end is no failure
    said = l0.check(command, timeout=300.0)
    l0.wait_exit(l1.qemu, 30.0)
    return said, state


def revive(nest, state):
    """Start L1 in another QEMU from what was saved; returns its agent."""
    hub, l0, sockets = nest.machine.hub, nest.levels[0].agent, guests.Sockets(1)
    l1 = with_options(nest.stack, {1: ("-incoming", f"file:{STATE}")}).levels[1]
    qemu = l0.start(guests.linux(1, l1), label="l1")
    watch_guest(hub, l0, qemu, 1)
    log = Log(hub, l0.connect(sockets.log, timeout=60.0), nest.machine.directory / "l1-restored.log", level=1)
    agent = Agent(hub, l0.connect(sockets.agent, timeout=60.0), level=1, log=log, state=state)
    agent.wait_ready(60.0)
    l0.check(guests.pin(1, nest.stack.levels[0].cpus))
    watch_guest(hub, agent, agent.take("l2"), 2)
    return agent
