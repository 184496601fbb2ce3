# SPDX-License-Identifier: GPL-2.0-or-later
"""An idle Linux as L2 lets L1 sleep, and what else L1 has to do gets what it would get if L2 idled in L1.

CI wants no more than to see that nobody starves; the figures are those of the long form, --rounds 10, see pytest's
--log-cli-level=info.
"""

import logging
from concurrent.futures import ThreadPoolExecutor
from math import sqrt

import pytest

from dvhbuild import counters, fairness, idle
from dvhbuild.lab import bring_up

pytestmark = pytest.mark.nested

LOG = logging.getLogger(__name__)

SECONDS = 10
TICK = 14_000_000
"""Instructions: 4 ms (HZ=250) at 3.5 GHz."""
POLICIES = ("off", "auto")
CHANCE = 0.4
"""How much longer one of two runs of the same many tasks takes, by chance alone; of sums of n, that much by sqrt(n)."""


def set_policy(l1, policy):
    """Tell L1's KVM when to leave HLT to L0."""
    l1.check(f"echo {policy} > /sys/module/kvm_intel/parameters/halt_in_guest")


@pytest.fixture(scope="module")
def nest(request, builder, stack, tmp_path_factory):
    """L2 at its prompt, with all of DVH and a kernel with such a parameter; the policy is each test's."""
    on = stack.configured("on")
    l2 = on.levels[2].model_copy(update={"append": f"{on.levels[2].append} {request.param}"})
    on = on.model_copy(update={"levels": (*on.levels[:2], l2)})
    with bring_up(builder, on, 2, tmp_path_factory.mktemp("nest")) as nest:
        idle.settle(nest)
        yield nest


quiet = pytest.mark.parametrize("nest", ["nohz=on"], indirect=True)
ticking = pytest.mark.parametrize("nest", ["nohz=off"], indirect=True)


# ---- an idle L2


@pytest.fixture(scope="module")
def alone(builder, stack, tmp_path_factory):
    """What L1 does by itself."""
    with bring_up(builder, stack.configured("on"), 1, tmp_path_factory.mktemp("alone")) as nest:
        idle.settle(nest)
        return idle.observe(nest, SECONDS)


def test_an_idle_l1_sleeps(alone):
    LOG.info("vm: %s", alone)
    assert alone.wakeups <= SECONDS


@quiet
def test_an_idle_l2_does_not_wake_l1(nest, alone):
    set_policy(nest.levels[1].agent, "auto")
    seen = idle.observe(nest, SECONDS)
    LOG.info("auto: %s", seen)
    assert seen.entries.get(1, 0) <= 10
    assert seen.wakeups <= alone.wakeups + SECONDS


@ticking
def test_an_l2_that_ticks_does_not_wake_l1(nest, alone):
    set_policy(nest.levels[1].agent, "off")
    off = idle.observe(nest, 1)
    set_policy(nest.levels[1].agent, "auto")
    auto = idle.observe(nest, SECONDS)
    LOG.info("off: %s", off)
    LOG.info("auto: %s", auto)
    assert off.entries[1] >= 5 * 2 * 250  # of two CPUs that wake up 250 times a second each
    assert auto.entries[2] >= 2 * 250 * SECONDS
    assert auto.entries.get(1, 0) <= 10
    assert auto.wakeups <= alone.wakeups + SECONDS


# ---- others in L1


@quiet
@pytest.mark.parametrize("operation", ["linux-nap", "linux-pipe"])
def test_a_task_of_l1_wakes_up_in_time(nest, rounds, operation):
    late = {}
    for policy in POLICIES:
        set_policy(nest.levels[1].agent, policy)
        late[policy] = fairness.beside(nest, operation, 10 * rounds)
        LOG.info("%s, %s: %s", operation, policy, late[policy])
    assert late["auto"].early == 0
    assert late["auto"].max <= late["off"].max + 2 * TICK


@ticking
@pytest.mark.parametrize("operation", ["linux-batch", "linux-rcu"])
def test_l1_does_not_wait_for_an_l2_that_needs_no_l1(nest, rounds, operation):
    """No interrupt tells of what it waits for: of a task that doesn't preempt, or the end of a grace period."""
    late = {}
    for policy in POLICIES:
        set_policy(nest.levels[1].agent, policy)
        with ThreadPoolExecutor(1) as pool:
            outcome = pool.submit(fairness.loads(nest)[0].run, operation, 2 * rounds)
            while not outcome.done():  # else the emulator takes its time for a machine that waits in silence
                nest.levels[0].agent.check("sleep 0.1")
        late[policy] = outcome.result()
        LOG.info("%s, %s: %s", operation, policy, late[policy])
    assert late["auto"].max <= late["off"].max + 2 * TICK


@quiet
def test_a_task_of_l1_gets_its_share(nest, rounds):
    loops = {}
    for policy in POLICIES:
        set_policy(nest.levels[1].agent, policy)
        loops[policy] = fairness.beside(nest, "linux-spin", 100 * rounds).ops
        LOG.info("linux-spin, %s: %d loops", policy, loops[policy])
    assert loops["auto"] >= 0.95 * loops["off"]


@quiet
@pytest.mark.parametrize(("operation", "count"), fairness.TOGETHER.items())
def test_work_in_l1_and_l2_takes_no_longer(nest, rounds, operation, count):
    l1, pid = nest.levels[1].agent, nest.pid(2)
    before = counters.parse(l1.check(f"kvmwindow stat {pid}"))
    took = {policy: [] for policy in POLICIES}
    for policy in POLICIES * rounds:
        set_policy(l1, policy)
        took[policy].append(fairness.together(nest, operation, count).sum)
    LOG.info("%s: %s", operation, took)
    if operation == "linux-lock":  # what kicks a vCPU that waits for a lock in its sleep
        assert counters.difference(before, counters.parse(l1.check(f"kvmwindow stat {pid}"))).vm["hypercalls"] > 0
    assert sum(took["auto"]) <= (1 + CHANCE / sqrt(rounds)) * sum(took["off"])
