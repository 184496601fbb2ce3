# SPDX-License-Identifier: GPL-2.0-or-later
"""Linux as L2 under a scheduler's load: whose exits are its IPIs?"""

import pytest

from dvhbuild.lab import bring_up

pytestmark = pytest.mark.nested

TRACING = "/sys/kernel/tracing"
ICR = f"grep -c 'msr_write 830' {TRACING}/trace || true"
"""Writes of an x2APIC ICR that L1 emulates."""


@pytest.mark.parametrize("variant", ["on", "off"])
def test_ipis_of_a_busy_linux(builder, stack, tmp_path, variant):
    with bring_up(builder, stack.configured(variant), 2, tmp_path) as nest:
        l0, l1, l2 = (level.agent for level in nest.levels)
        assert l1.check("cat /sys/module/kvm_intel/parameters/enable_ipiv") == ("Y" if variant == "on" else "N")
        l1.check(f"echo 1 > {TRACING}/events/kvm/kvm_msr/enable; echo > {TRACING}/trace")
        sent = int(l0.check("cat /sys/kernel/debug/kvm/nested_ipiv"))
        assert l2.check("dvhload hackbench 8 250", timeout=300) == "hackbench: 8 pairs, 500 messages each"
        l1.check(f"echo 0 > {TRACING}/events/kvm/kvm_msr/enable")
        sent = int(l0.check("cat /sys/kernel/debug/kvm/nested_ipiv")) - sent
        by_l1 = int(l1.check(ICR))
        assert (by_l1 == 0, sent > 100) == (variant == "on", variant == "on")
