# SPDX-License-Identifier: GPL-2.0-or-later
"""What is counted of an idle VM's trace."""

import pytest
from test_trace import CPUID, HLT, INTERRUPT, VMREAD, WRMSR, Guest

from dvhbuild.idle import ticks, wakeups


def test_ticks_are_those_of_each_level():
    assert ticks(Guest().resume().l2(CPUID).l2(HLT).reflect(HLT).l1(VMREAD).timeline()) == {1: 30, 2: 20}


def test_what_the_guest_sleeps_is_nobodys():
    guest = Guest().l1(HLT)
    assert ticks(guest.l1(HLT, vcpu=1).timeline()) == {1: 20}


@pytest.mark.parametrize(
    ("guest", "count"),
    [
        (Guest().l1(WRMSR, HLT), 1),  # it was asleep before: nothing else lets a vCPU rest
        (Guest().l1(HLT).l1(WRMSR, HLT), 2),
        (Guest().l1(HLT).l1(HLT, vcpu=1), 2),
        (Guest().resume().l2(HLT).l2(CPUID), 1),
        (Guest().resume().l2(HLT).reflect(HLT).l1(VMREAD, HLT), 2),
        (Guest().resume().reflect(INTERRUPT).l1(VMREAD), 2),  # L2, resumed halted, did not run
    ],
)
def test_a_wakeup_ends_a_halt_or_a_run_of_l2(guest, count):
    assert wakeups(guest.timeline()) == count
