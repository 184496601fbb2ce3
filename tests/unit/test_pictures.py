# SPDX-License-Identifier: GPL-2.0-or-later
"""From a trace to the picture of one operation: what is taken from it, and what is drawn."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_trace import BEGIN, CPUID, END, HLT, INTERRUPT, INTERRUPTED, IO, IPI, WRMSR, Guest, own

from dvhbuild import counters
from dvhbuild.trace import cut, locate, picture, read, summarize

TRACES = Path(__file__).parent / "traces"
REAL = [
    ("svm-l1-cpuid", 1, own("CPUID")),
    ("svm-l2-cpuid", 2, own("CPUID")),
    ("vmx-l1-ipi-halted", 1, IPI),
    ("vmx-l2-cpuid", 2, own("CPUID")),
    ("vmx-l2-ipi-halted", 2, IPI),
    ("vmx-l2-timer-expiry", 2, own("*", *INTERRUPTED)),
]


def recorded(file, level, mine):
    """The operations of a recorded trace, and the picture of one."""
    before = counters.parse((TRACES / f"{file}.before").read_text())
    timeline = locate(read((TRACES / f"{file}.trace.gz").read_bytes()), counters.levels(before))
    operations = cut(timeline, level=level, own=mine)
    return operations, picture(timeline, operations, mine)


def crafted(guest, mine):
    timeline = guest.timeline()
    return picture(timeline, cut(timeline, level=2, own=mine), mine)


def tokens(taken):
    """What the sequence of the operation would be, by its picture."""
    order = sorted((each for each in taken.crossings if each.part != "outside"), key=lambda each: each.vcpu)
    return tuple(
        ("" if each.vcpu == taken.vcpu else f"cpu{each.vcpu}/")
        + ("!" if each.part == "foreign" else "")
        + (f"L{each.level}:{each.reason}" if each.kind == "exit" else f">L{each.level}")
        for each in sorted(order, key=lambda each: each.vcpu != taken.vcpu)
    )


# ---- what is taken from the trace


@pytest.mark.parametrize(("file", "level", "mine"), REAL)
def test_a_picture_has_all_exits_and_entries_of_the_most_frequent_sequence(file, level, mine):
    operations, taken = recorded(file, level, mine)
    assert tokens(taken) == summarize(operations).sequences[0][0]
    assert [each.ticks for each in taken.crossings] == sorted(each.ticks for each in taken.crossings)
    ended = taken.crossings[-1]
    assert (ended.kind, ended.level, ended.vcpu, ended.ticks) == ("exit", level, taken.vcpu, taken.ticks)
    alike = sorted(each.ticks for each in operations.operations if each.tokens == tokens(taken))
    assert alike[(len(alike) - 1) // 2] == taken.ticks


@pytest.mark.parametrize(
    ("operations", "ticks"),
    [("fs", 30), ("fss", 40), ("ssf", 40), ("ff", 30), ("sfdddd", 70), ("dds", 70), ("dsf", 30)],
)
def test_a_picture_is_of_median_length_among_the_most_frequent(operations, ticks):
    """An exit served on the fast path, an exit on the slow path, which takes longer; two exits."""
    guest = Guest().resume()
    for what in operations:
        guest.served(IO, BEGIN)
        if what == "f":
            guest.entry().exit(WRMSR)
        for _ in range({"f": 0, "s": 1, "d": 2}[what]):
            guest.l2(WRMSR)
        guest.served(IO, END)
    assert crafted(guest.l2(HLT), own("MSR_WRITE")).ticks == ticks


def test_a_picture_tells_what_another_vcpu_did_before():
    def taken(*, halts):
        guest = Guest().resume(1).resume()
        guest = guest.l2(HLT, vcpu=1) if halts else guest.entry(1)
        guest.served(IO, BEGIN).l2(WRMSR).served(IO, END)
        guest = guest.l2(HLT, vcpu=1) if halts else guest.exit(HLT, vcpu=1)
        return crafted(guest.l2(HLT), own("MSR_WRITE", others={"*"}))

    asleep, awake = taken(halts=True), taken(halts=False)
    assert asleep.vcpus == awake.vcpus == (0, 1)
    first = asleep.crossings[0]
    assert (first.vcpu, first.kind, first.reason, first.halted, first.part) == (1, "exit", "HLT", True, "outside")
    first = awake.crossings[0]
    assert (first.vcpu, first.kind, first.level, first.part) == (1, "entry", 2, "outside")
    assert first.ticks < 0
    assert [each.ticks for each in awake.crossings if each.vcpu == 0] == [0, 10, 30, 40]


def test_another_vcpu_that_has_no_part_in_it_is_left_out_unless_something_happens_there():
    guest = Guest().resume(1).resume().l2(HLT, vcpu=1).served(IO, BEGIN).l2(WRMSR)
    assert crafted(guest.served(IO, END).l2(HLT), own("MSR_WRITE")).vcpus == (0,)
    guest = Guest().resume(1).resume().l2(HLT, vcpu=1).served(IO, BEGIN).l2(WRMSR).l2(INTERRUPT, vcpu=1)
    taken = crafted(guest.served(IO, END).l2(HLT), own("MSR_WRITE"))
    assert taken.vcpus == (0, 1)
    assert [each.part for each in taken.crossings if each.vcpu == 1] == ["outside", "foreign", "foreign"]


@pytest.mark.parametrize(
    ("halt", "halted"),
    [
        (lambda guest: guest.l2(HLT).l2(INTERRUPT), True),
        (lambda guest: guest.served(HLT), False),
        (lambda guest: guest.l2(HLT).reflect(INTERRUPT).resume(), True),
        (lambda guest: guest.l2(HLT).reflect(HLT).l1(HLT).resume(), False),
    ],
)
def test_a_vcpu_sleeps_unless_l1_is_to_see_its_halt(halt, halted):
    guest = Guest().resume().served(IO, BEGIN)
    halt(guest)
    taken = crafted(guest.served(IO, END).l2(HLT), own("*", "L1:*"))
    assert [each.halted for each in taken.crossings if (each.level, each.reason) == (2, "HLT")] == [halted]


def test_a_halt_of_l1_is_asleep_in_l0():
    guest = Guest().resume().served(IO, BEGIN).l2(HLT).reflect(HLT).l1(HLT).resume().served(CPUID)
    taken = crafted(guest.served(IO, END).l2(HLT), own("*"))
    assert [each.halted for each in taken.crossings if (each.level, each.reason) == (1, "HLT")] == [True]
