# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU saves L1 and restores it, on the same L0, while the timer that L0 runs for L2 is armed."""

import pytest

from dvhbuild import guests, probe
from dvhbuild.agent import Agent
from dvhbuild.console import Log, Stream
from dvhbuild.lab import bring_up
from dvhbuild.nest import watch_guest

pytestmark = pytest.mark.nested

WARM_UP = 42 + 8
"""Timers of the probe before the one that it tells of: what KVM learns from, and what every run begins with."""

DELAY = 100_000_000
"""Ticks from the arming to the deadline: more than it takes L0 to notice that the timer is armed, and to stop L1."""

LATE = 50_000
"""Ticks after the deadline at which the interrupt must be there: a few exits of a vCPU that has just been restored."""

AGE = 2
"""Seconds that L1 has to live before. While the TSC that QEMU restores is less than a second from the new VM's own, KVM
takes it for an attempt to synchronize the vCPUs' TSCs, and ignores it."""

MONITOR = "/run/l1.monitor"
STATE = "/run/l1.state"
STATISTICS = "/sys/kernel/debug/kvm/nested_timer_"

# A VM that was stopped runs when it is restored, unless its state says that it was stopped.
L1_OPTIONS = (
    *("-chardev", f"pipe,id=monitor,path={MONITOR}", "-mon", "monitor"),
    *("-global", "migration.store-global-state=off"),
)

# As one command: while L0 idles, the deadline comes sooner than we can say anything.
SAVE = f"""
    cat {MONITOR}.out > /run/l1.said &
    until [ $(cat {STATISTICS}armed) -gt {WARM_UP} ]; do usleep 1000; done
    echo stop > {MONITOR}.in
    echo migrate file:{STATE} > {MONITOR}.in
    echo $(cat {STATISTICS}armed {STATISTICS}fired)
    echo quit > {MONITOR}.in
    wait; ! grep Error /run/l1.said"""


def with_options(stack, l1, l2):
    levels = list(stack.configured("on").levels)
    for number, options in ((1, l1), (2, l2)):
        levels[number] = levels[number].model_copy(update={"qemu": (*levels[number].qemu, *options)})
    return stack.model_copy(update={"levels": tuple(levels), "configs": {}})


def forget(qemu):
    """Let a guest's QEMU end, and its agent's channels with it, without a failure."""
    qemu.attach(lambda _data: None, lambda _reason: None)


def restore(nest, l1, state):
    """Start L1 in another QEMU from the saved state, and take up its agent, the probe and its line."""
    hub, l0, sockets = nest.machine.hub, nest.levels[0].agent, guests.Sockets(1)
    qemu = l0.start(guests.linux(1, l1), label="l1")
    watch_guest(hub, l0, qemu, 1)
    log = Log(hub, l0.connect(sockets.log, timeout=60.0), nest.machine.directory / "l1-restored.log", level=1)
    agent = Agent(hub, l0.connect(sockets.agent, timeout=60.0), level=1, log=log, state=state)
    agent.wait_ready(60.0)
    l0.check(guests.pin(1, nest.stack.levels[0].cpus))
    watch_guest(hub, agent, agent.take("l2"), 2)
    line = agent.take(guests.Sockets(2).log)
    return probe.Probe(2, agent, line, Stream.of(hub, line, level=2))


@pytest.mark.parametrize(
    ("operation", "l2_options"),
    [("timer-expiry", ()), ("halt-wake-timer", ("-overcommit", "cpu-pm=on"))],
    ids=["spinning", "halted"],
)
def test_a_timer_of_l2_that_l0_runs_outlives_l1s_qemu(builder, stack, tmp_path, operation, l2_options):
    wanted = with_options(stack, L1_OPTIONS, l2_options)
    with bring_up(builder, wanted, 0, tmp_path) as nest:
        l0 = nest.levels[0].agent
        l0.check(f"mkfifo {MONITOR}.in {MONITOR}.out")
        nest.boot(1)
        l1 = nest.levels[1]
        l1.agent.check(f"sleep {AGE}")
        with probe.start(nest, 2) as session:
            session.begin(operation, 1, f"delay={DELAY}")
            state = l1.agent.state(30.0)
            forget(l1.agent.take("l2"))
            forget(l1.qemu)
            counts = l0.check(SAVE, timeout=120.0)
            assert counts == f"{WARM_UP + 1} {WARM_UP}"  # armed and fired: one is on its way
            l0.wait_exit(l1.qemu, 30.0)
        again = with_options(stack, (*L1_OPTIONS, "-incoming", f"file:{STATE}"), l2_options)
        outcome = restore(nest, again.levels[1], state).outcome(operation)
        assert (outcome.ops, outcome.lost, outcome.early, outcome.wrong) == (1, 0, 0, 0)
        assert outcome.max <= LATE
        assert l0.check(f"echo $(cat {STATISTICS}armed {STATISTICS}fired)") == "0 1"  # of the new QEMU's VM alone
