# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU saves L1 and restores it, on the same L0, while the timer that L0 runs for L2 is armed."""

import pytest
from reincarnation import LISTEN, QUIT, SAVE, die, mortal, prepare, revive, with_options

from dvhbuild import guests, probe
from dvhbuild.console import Stream
from dvhbuild.lab import bring_up

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

STATISTICS = "/sys/kernel/debug/kvm/nested_timer_"

SAVE_WHILE_ARMED = f"""
    {LISTEN}
    until [ $(cat {STATISTICS}armed) -gt {WARM_UP} ]; do usleep 1000; done
    {SAVE}
    echo $(cat {STATISTICS}armed {STATISTICS}fired)
    {QUIT}"""


@pytest.mark.parametrize(
    ("operation", "l2_options"),
    [("timer-expiry", ()), ("halt-wake-timer", ("-overcommit", "cpu-pm=on"))],
    ids=["spinning", "halted"],
)
def test_a_timer_of_l2_that_l0_runs_outlives_l1s_qemu(builder, stack, tmp_path, operation, l2_options):
    wanted = with_options(mortal(stack.configured("on")), {2: l2_options})
    with bring_up(builder, wanted, 0, tmp_path) as nest:
        prepare(nest)
        nest.boot(1)
        l0, l1 = nest.levels[0].agent, nest.levels[1].agent
        l1.check(f"sleep {AGE}")
        with probe.start(nest, 2) as session:
            session.begin(operation, 1, f"delay={DELAY}")
            counts, state = die(nest, SAVE_WHILE_ARMED)
            assert counts == f"{WARM_UP + 1} {WARM_UP}"  # armed and fired: one is on its way
        l1 = revive(nest, state)
        line = l1.take(guests.Sockets(2).log)
        outcome = probe.Probe(2, l1, line, Stream.of(nest.machine.hub, line, level=2)).outcome(operation)
        assert (outcome.ops, outcome.lost, outcome.early, outcome.wrong) == (1, 0, 0, 0)
        assert outcome.max <= LATE
        assert l0.check(f"echo $(cat {STATISTICS}armed {STATISTICS}fired)") == "0 1"  # of the new QEMU's VM alone
