# SPDX-License-Identifier: GPL-2.0-or-later
"""From a trace to the picture of one operation: what is taken from it, and what is drawn."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_trace import BEGIN, CPUID, END, HLT, INTERRUPT, INTERRUPTED, IO, IPI, WRMSR, Guest, own

from dvhbuild import counters
from dvhbuild.report.pictures import axis_of, draw, runs, told
from dvhbuild.report.scale import Axis, Decades, Spell, step_of
from dvhbuild.trace import Crossing, Picture, cut, locate, picture, read, summarize

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


# ---- what is drawn


SVG = "{http://www.w3.org/2000/svg}"


def drawn(taken, *together):
    text = str(draw(taken, "a picture", together))
    return ET.fromstring(text.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


def classed(root, *names):
    return [each for each in root.iter() if set(names) <= set(each.get("class", "").split())]


def lanes(root):
    """Where each lane is: y -> (number of its vCPU in the picture, level)."""
    found, vcpu = {}, -1
    for text in root.iter(f"{SVG}text"):
        if text.get("class") == "vcpu":
            vcpu += 1
        elif text.text[:1] == "L" and text.text[1:].isdigit():
            found[float(text.get("y")) - 4] = vcpu, int(text.text[1:])
    return found


def lane_at(root, y):
    return min(lanes(root).items(), key=lambda item: abs(item[0] - y))[1]


def arrows(root):
    """(vCPU, x, points down, level above L0) of each arrow, in the order of time on each vCPU."""
    found = []
    for group in classed(root, "exit") + classed(root, "entry"):
        line, head = group.find(f"{SVG}line"), group.find(f"{SVG}path")
        tip, x = float(head.get("d").split()[1].split("l")[0]), float(line.get("x1"))
        vcpu, level = lane_at(root, float(line.get("y1")))
        assert lane_at(root, float(line.get("y2"))) == (vcpu, 0)
        down = tip == float(line.get("y2"))
        assert down or tip == float(line.get("y1"))
        assert down == ("-" in head.get("d").split("l")[1].split("h")[0].split(" ")[1])
        found.append((vcpu, x, down, level))
    return sorted(found)


@pytest.mark.parametrize(("file", "level", "mine"), REAL)
def test_there_is_an_arrow_for_each_exit_and_entry_of_the_sequence(file, level, mine):
    """Told by where they are and where they point, not by what they say; the reasons stand below exits."""
    operations, taken = recorded(file, level, mine)
    root = drawn(taken)
    reasons = {round(float(each.get("x")) - 3, 1): each.text for each in classed(root, "reason")}
    told = [
        ("" if vcpu == 0 else f"cpu{taken.vcpus[vcpu]}/") + (f"L{of}:{reasons[round(x, 1)]}" if down else f">L{of}")
        for vcpu, x, down, of in arrows(root)
    ]
    assert tuple(told) == summarize(operations).sequences[0][0]
    assert len(reasons) == sum(each.kind == "exit" and each.part == "own" for each in taken.crossings)


@pytest.mark.parametrize(("file", "level", "mine"), REAL)
def test_something_runs_on_each_vcpu_all_the_time(file, level, mine):
    _, taken = recorded(file, level, mine)
    for vcpu in taken.vcpus:
        spans = list(runs(taken, vcpu))
        assert (spans[0].begin, spans[-1].end) == (0, taken.ticks)
        assert all(left.end == right.begin for left, right in pairwise(spans))
    root = drawn(taken)
    for vcpu in range(len(taken.vcpus)):
        bars = [each.find(f"{SVG}rect") for each in classed(root, "run") + classed(root, "asleep")]
        mine = [bar for bar in bars if lane_at(root, float(bar.get("y")) + 5)[0] == vcpu]
        end = float(next(each for each in root.iter(f"{SVG}line") if each.get("class") == "end").get("x1"))
        assert sum(float(bar.get("width")) for bar in mine) == pytest.approx(end - 76, abs=1)


def test_which_level_runs_is_what_the_trace_says():
    """Read off the recorded trace by eye: vmx-l2-ipi-halted's, whose vCPU 1 sleeps until it is sent an IPI."""
    _, taken = recorded("vmx-l2-ipi-halted", 2, IPI)
    sender = [(run.level, run.begin, run.asleep) for run in runs(taken, 0)]
    assert sender == [(2, 0, False), (0, 864, False), (1, 8048, False), (0, 9728, False), *[*sender[4:]]]
    assert [level for level, _, _ in sender] == [2, 0, 1, 0, 1, 0, 2]
    receiver = [(run.level, run.asleep) for run in runs(taken, 1)]
    assert receiver == [(0, True), (1, False), (0, False), (1, False), (0, False), (1, False), (0, False), (2, False)]
    assert len(classed(drawn(taken), "asleep")) == 1


def test_what_is_not_its_own_looks_different_and_says_so():
    guest = Guest().resume().served(IO, BEGIN).l2(INTERRUPT).l2(WRMSR).served(IO, END).l2(HLT)
    root = drawn(crafted(guest, own("MSR_WRITE")))
    assert [each.text for each in classed(root, "reason")] == ["(EXTERNAL_INTERRUPT)", "MSR_WRITE"]
    (exit_, entry) = classed(root, "foreign", "exit") + classed(root, "foreign", "entry")
    assert exit_.find(f"{SVG}title").text == "10: L2 exits: EXTERNAL_INTERRUPT (not the operation's own)"
    assert entry.find(f"{SVG}title").text == "30: L0 enters L2 (not the operation's own)"


def test_a_picture_has_a_text_for_those_who_do_not_see_it():
    root = drawn(recorded(*REAL[0])[1])
    assert (root.get("role"), root.get("aria-label")) == ("img", "a picture")
    for group in classed(root, "exit") + classed(root, "entry") + classed(root, "run"):
        assert group.find(f"{SVG}title").text


def test_a_picture_is_told_in_words():
    _, taken = recorded("vmx-l2-ipi-halted", 2, IPI)
    lines = list(told(taken))
    assert lines[:4] == [
        (None, "vCPU 0", "L2 runs"),
        (None, "vCPU 1", "asleep in L0, since L1's HLT"),
        (864, "vCPU 0", "L2 exits: MSR_WRITE"),
        (8048, "vCPU 0", "L0 enters L1"),
    ]
    assert lines[-1] == (taken.ticks, "vCPU 0", "the operation ends")
    assert len(lines) == len(tokens(taken)) + 3


def test_reasons_do_not_cover_each_other():
    guest = Guest().resume().served(IO, BEGIN)
    for _ in range(30):
        guest.l2(WRMSR)
    root = drawn(crafted(guest.served(IO, END).l2(HLT), own("*")))
    places = sorted((float(each.get("y")), float(each.get("x")), len(each.text)) for each in classed(root, "reason"))
    assert len(places) == 30
    assert len({y for y, _, _ in places}) > 1
    for (y, x, length), (next_y, next_x, _) in pairwise(places):
        assert y != next_y or x + 7 * length < next_x


def test_pictures_shown_together_have_one_scale():
    short = crafted(Guest().resume().served(IO, BEGIN).l2(WRMSR).served(IO, END).l2(HLT), own("*"))
    long = crafted(Guest().resume().served(IO, BEGIN).served(WRMSR).served(IO, END).l2(HLT), own("*"))

    def end(root):
        return next(float(each.get("x1")) - 76 for each in root.iter(f"{SVG}line") if each.get("class") == "end")

    assert end(drawn(long, short)) / end(drawn(short, long)) == pytest.approx(long.ticks / short.ticks, rel=0.01)
    assert end(drawn(short)) == end(drawn(long))


# ---- the axis


def test_a_long_wait_is_cut_and_work_is_not():
    _, taken = recorded("vmx-l2-timer-expiry", 2, own("*", *INTERRUPTED))
    axis = axis_of(taken)
    assert [(gap.begin, gap.end) for gap in axis.gaps] == [(20528, 203088)]
    assert axis.length == taken.ticks - (203088 - 20528)
    root = drawn(taken)
    assert [each.text for each in root.iter(f"{SVG}text") if "not shown" in each.text] == ["182,560 not shown"]
    assert Axis.of([Spell(0, 9000, waiting=False), Spell(9000, 9100, waiting=True)]).gaps == ()
    assert len(Axis.of([Spell(0, 9000, waiting=True)]).gaps) == 1
    assert len(Axis.of([Spell(0, 90_000, waiting=False)]).gaps) == 1


@pytest.mark.parametrize(("halted", "cut_short"), [(True, True), (False, False)])
def test_sleep_is_a_wait_and_l0s_work_is_none(halted, cut_short):
    crossings = (
        Crossing(0, 0, "entry", 2, None, "outside"),
        Crossing(100, 0, "exit", 2, "HLT", "own", halted=halted),
        Crossing(20_000, 0, "entry", 2, None, "own"),
        Crossing(20_100, 0, "exit", 2, "MSR_READ", "outside"),
    )
    assert bool(axis_of(Picture(0, (0,), 20_100, crossings)).gaps) == cut_short


SPELLS = st.lists(st.tuples(st.integers(1, 100_000), st.booleans()), min_size=1, max_size=20)


@given(SPELLS)
def test_an_axis_keeps_the_order_and_all_that_happens(lengths):
    spells, begin = [], 0
    for length, waiting in lengths:
        spells.append(Spell(begin, begin + length, waiting))
        begin += length
    axis = Axis.of(spells)
    assert axis.end == begin
    for spell in spells:
        shown = axis.place(spell.end) - axis.place(spell.begin)
        assert 0 < shown <= spell.end - spell.begin
        assert shown == spell.end - spell.begin or shown == 4000
    step = step_of(axis.length, 8)
    assert all(time < axis.end for time in axis.marks(step))
    assert len(list(axis.marks(step))) <= 9 + len(axis.gaps)


@pytest.mark.parametrize(("length", "most", "step"), [(22848, 10, 5000), (8, 8, 1), (1, 9, 1), (1001, 10, 200)])
def test_steps_are_round(length, most, step):
    assert step_of(length, most) == step


def test_a_logarithmic_axis_has_all_values():
    axis = Decades.around([0, 80, 4500], 100)
    assert (axis.low, axis.place(0), axis.place(10)) == (10, 0, 0)
    assert 0 < axis.place(80) < axis.place(4500) < 100
    assert list(axis.marks()) == [10, 100, 1000]
    assert list(Decades.around([], 100).marks()) == [1]
