# SPDX-License-Identifier: GPL-2.0-or-later
"""An idle Linux as L2 lets L1 sleep, and what else L1 has to do gets what it would get if L2 idled in L1."""

import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from dvhbuild import counters, idle
from dvhbuild.lab import bring_up
from dvhbuild.load import Load

pytestmark = pytest.mark.nested

LOG = logging.getLogger(__name__)
"""The figures: pytest --log-cli-level=info."""

SECONDS = 10
TICK = 14_000_000
"""Instructions: 4 ms (HZ=250) at 3.5 GHz."""
POLICIES = ("off", "auto")
ROUNDS = 2
WAITING = ("linux-batch", "linux-rcu")
"""What no interrupt tells of: a task that doesn't preempt, a grace period of RCU."""
CHANCE = 1.1
"""What a run of many tasks takes varies by that."""


@pytest.fixture(scope="module")
def nest(builder, stack, tmp_path_factory):
    """L2 at its prompt, with all of DVH; the policy is each test's."""
    with bring_up(builder, stack.configured("on"), 2, tmp_path_factory.mktemp("nest")) as nest:
        idle.settle(nest)
        yield nest


def loads(nest):
    """What runs in L1 and in L2."""
    l0, l1, l2 = (level.agent for level in nest.levels)
    return Load(1, l0, l1), Load(2, l1, l2)


def with_l2(stack, append):
    """The stack with all of DVH, and more parameters for L2's kernel."""
    on = stack.configured("on")
    l2 = on.levels[2].model_copy(update={"append": f"{on.levels[2].append} {append}"})
    return on.model_copy(update={"levels": (*on.levels[:2], l2)})


@contextmanager
def meanwhile(agent, command):
    """Run `command` over and over."""
    channel = agent.start(f"while {command} > /dev/null; do :; done")
    try:
        yield
    finally:
        agent.stop(channel)


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


@pytest.mark.parametrize("append", ["nohz=on", "nohz=off"])
def test_an_idle_l2_does_not_wake_l1(builder, stack, tmp_path, alone, append):
    with bring_up(builder, with_l2(stack, append), 1, tmp_path) as nest:
        nest.boot(2)
        idle.set_policy(nest.levels[1].agent, "auto")
        idle.settle(nest)
        auto = idle.observe(nest, SECONDS)
        LOG.info("%s auto: %s", append, auto)
        assert auto.entries.get(1, 0) <= 10
        assert auto.wakeups <= alone.wakeups + SECONDS
        if append == "nohz=off":  # L2's CPUs wake up 250 times a second each, which L1 would have to handle
            idle.set_policy(nest.levels[1].agent, "off")
            off = idle.observe(nest, 1)
            LOG.info("%s off: %s", append, off)
            assert auto.entries[2] >= 2 * 250 * SECONDS
            assert off.entries[1] >= 5 * 250


# ---- others in L1

BUSY = "dvhload timer 1000"
"""On L2's CPU 0: sleeps of 100 us."""


@pytest.mark.parametrize("operation", ["linux-nap", "linux-pipe"])
def test_a_task_of_l1_wakes_up_in_time(nest, operation):
    l1, _ = loads(nest)
    late = {}
    for policy in POLICIES:
        idle.set_policy(nest.levels[1].agent, policy)
        with meanwhile(nest.levels[2].agent, BUSY):
            nest.levels[0].agent.check("sleep 1")
            late[policy] = l1.run(operation, 50)
        LOG.info("%s, %s: %s", operation, policy, late[policy])
    assert late["auto"].early == 0
    assert late["auto"].max <= late["off"].max + 2 * TICK


def test_l1_does_not_wait_for_an_l2_that_needs_no_l1(builder, stack, tmp_path):
    late = {}
    with bring_up(builder, with_l2(stack, "nohz=off"), 1, tmp_path) as nest:
        nest.boot(2)
        idle.settle(nest)
        l1, _ = loads(nest)
        for operation in WAITING:
            for policy in POLICIES:
                idle.set_policy(nest.levels[1].agent, policy)
                nest.levels[0].agent.check("sleep 1")
                with ThreadPoolExecutor(1) as pool:
                    outcome = pool.submit(l1.run, operation, 2)
                    while not outcome.done():  # else the emulator takes its time for a machine that waits in silence
                        nest.levels[0].agent.check("sleep 1")
                late[operation, policy] = outcome.result()
                LOG.info("%s, %s: %s", operation, policy, late[operation, policy])
    for operation in WAITING:
        assert late[operation, "auto"].max <= late[operation, "off"].max + 2 * TICK


def test_a_task_of_l1_gets_its_share(nest):
    l1, _ = loads(nest)
    loops = {}
    for policy in POLICIES:
        idle.set_policy(nest.levels[1].agent, policy)
        with meanwhile(nest.levels[2].agent, BUSY):
            loops[policy] = l1.run("linux-spin", 300).ops
        LOG.info("linux-spin, %s: %d loops", policy, loops[policy])
    assert loops["auto"] >= 0.95 * loops["off"]


@pytest.mark.parametrize(("operation", "count"), [("linux-lock", 600), ("linux-mix", 300)])
def test_work_in_l1_and_l2_takes_no_longer(nest, operation, count):
    levels, l1, pid = loads(nest), nest.levels[1].agent, nest.pid(2)
    took = dict.fromkeys(POLICIES, 0)
    hypercalls = dict.fromkeys(POLICIES, 0)
    for policy in POLICIES * ROUNDS:
        idle.set_policy(l1, policy)
        before = counters.parse(l1.check(f"kvmwindow stat {pid}"))
        with ThreadPoolExecutor(2) as pool:
            took[policy] += max(outcome.sum for outcome in pool.map(lambda load: load.run(operation, count), levels))
        counted = counters.difference(before, counters.parse(l1.check(f"kvmwindow stat {pid}")))
        hypercalls[policy] += counted.vm["hypercalls"]
    LOG.info("%s: %s instructions, %s hypercalls", operation, took, hypercalls)
    if operation == "linux-lock":  # what kicks a vCPU that waits for a lock in its sleep
        assert min(hypercalls.values()) > 0
    assert took["auto"] <= CHANCE * took["off"]
