# SPDX-License-Identifier: GPL-2.0-or-later
"""Linux as L2 that idles and that sleeps a thousand times: whose exits are its timers? And LVTT, with a timer set."""

import pytest

from dvhbuild import probe
from dvhbuild.lab import bring_up

pytestmark = pytest.mark.nested

TRACING = "/sys/kernel/tracing"
TRACED = ("kvm/kvm_msr", "kvm/kvm_exit", "timer/hrtimer_start")
BY_L1 = {
    "writes of IA32_TSC_DEADLINE": "msr_write 6e0 = 0x[1-9a-f]",
    "timers kept for L2": "function=apic_timer_fn",
    "preemption timers": "reason PREEMPTION_TIMER",
}
"""What L1 does for a timer of L2. Its own tick, which goes on while it runs L2, is none of these. Nor are writes of 0:
a Linux that stops its tick for want of any timer masks LVTT first, and a masked timer is not the processor's: L1 keeps
it, for the moment that there is still a deadline."""
MASKS = "msr_write 832 = 0x5"
"""Of LVTT, TSC-deadline mode."""
WAKEUPS = 1000
HZ = 250
IDLE = 2
"""Seconds of L2's."""


def with_own_halts(stack, append):
    """The stack with an L2 whose HLT is not L1's: it sleeps in L0."""
    l2 = stack.levels[2]
    changed = {"append": f"{l2.append} {append}", "qemu": (*l2.qemu, "-overcommit", "cpu-pm=on")}
    return stack.model_copy(update={"levels": (*stack.levels[:2], l2.model_copy(update=changed))})


@pytest.mark.parametrize("append", ["nohz=on", "nohz=off"])
@pytest.mark.parametrize("variant", ["on", "off"])
def test_timers_of_a_linux(builder, stack, tmp_path, variant, append):
    with bring_up(builder, with_own_halts(stack.configured(variant), append), 1, tmp_path) as nest:
        nest.boot(2)
        l0, l1, l2 = (level.agent for level in nest.levels)

        def counted(name):
            return int(l0.check(f"cat /sys/kernel/debug/kvm/nested_timer_{name}"))

        l1.check(f"echo 4096 > {TRACING}/buffer_size_kb; echo > {TRACING}/trace")
        l1.check(f"for event in {' '.join(TRACED)}; do echo 1 > {TRACING}/events/$event/enable; done")
        before = {name: counted(name) for name in ("armed", "fired")}
        l2.check(f"sleep {IDLE}")
        idle = {name: counted(name) - before[name] for name in before}
        said = l2.check(f"dvhload timer {WAKEUPS}", timeout=300)
        total = {name: counted(name) - before[name] for name in before}
        l1.check(f"echo 0 > {TRACING}/tracing_on")

        def traced(event):
            return int(l1.check(f"grep -c '{event}' {TRACING}/trace || true"))

        by_l1 = {what: traced(event) for what, event in BY_L1.items()}
        assert f"ops={WAKEUPS} early=0 " in said
        if variant == "on":
            assert by_l1.pop("timers kept for L2") <= traced(MASKS) <= WAKEUPS / 20
            assert set(by_l1.values()) == {0}
            assert min(total[name] - idle[name] for name in total) >= WAKEUPS
            assert (idle["fired"] >= IDLE * HZ) == (append == "nohz=off")
        else:
            assert by_l1["writes of IA32_TSC_DEADLINE"] >= WAKEUPS
            assert total == {"armed": 0, "fired": 0}


@pytest.mark.parametrize("variant", ["on", "off"])
def test_lvtt_is_heeded_whoever_runs_the_timer(builder, stack, tmp_path, variant):
    with (
        bring_up(builder, stack.configured(variant), 1, tmp_path) as nest,
        probe.start(nest, 2) as session,
    ):
        assert session.run("timer-lvtt", 200).ops == 200  # with all that it checks
        armed = int(nest.levels[0].agent.check("cat /sys/kernel/debug/kvm/nested_timer_armed"))
        assert (armed >= 200) == (variant == "on")
