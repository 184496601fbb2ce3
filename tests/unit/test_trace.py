# SPDX-License-Identifier: GPL-2.0-or-later
"""From kvmwindow's records to operations: crafted traces of VMX, and real ones in `traces/`."""

from __future__ import annotations

import contextlib
import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dvhbuild.trace import MSR, Event, Kind, Own, Port, TraceError, both, cut, locate, name, read, summarize
from dvhbuild.trace.reasons import port_of
from dvhbuild.trace.records import MAGIC

TRACES = Path(__file__).parent / "traces"
CPUID, HLT, VMREAD, VMRESUME, IO, RDMSR, WRMSR, INTERRUPT, PREEMPTION = 10, 12, 23, 24, 30, 31, 32, 1, 52
BEGIN, END = 0x4D10000, 0x4D00000
WINDOW_BEGIN, WINDOW_END = 0xA10000, 0x210000
TID = {0: 100, 1: 101}


def varint(value):
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def record(kind, *operands, flags=0):
    return bytes([kind | flags]) + b"".join(varint(operand) for operand in operands)


def encode(events, *, vcpus, threads, lost=(0, 0, 0, 0), count=None):
    """What guest/tools/cut.c would write, each CPU's events together."""
    out = MAGIC + b"".join(record(Kind.THREAD, tid) for tid in sorted(threads))
    out += b"".join(record(Kind.VCPU, tid, vcpu) for tid, vcpu in vcpus.items())
    for cpu in sorted({event.cpu for event in events}):
        mine = [event for event in events if event.cpu == cpu]
        out += record(Kind.CPU, cpu, mine[0].tsc)
        tsc, tid = mine[0].tsc, None
        for event in mine:
            if event.tid != tid:
                tid = event.tid
                out += record(Kind.RUNS, tid)
            out += one(event, event.tsc - tsc)
            tsc = event.tsc
        out += record(Kind.LOST, *lost)
    return out + record(Kind.END, len(events) if count is None else count)


def one(event, delta):
    flags = (0x10 if event.info or event.immediate else 0) | (0x20 if event.intr else 0) | (0x40 if event.svm else 0)
    operands = [delta]
    if event.kind not in (Kind.ENTRY, Kind.VMENTER):
        operands.append(event.reason)
    return record(event.kind, *operands, *filter(None, (event.info, event.intr)), flags=flags)


class Guest:
    """Makes the events that KVM's tracepoints would, a tick each."""

    def __init__(self):
        self.events = []

    def add(self, kind, vcpu=0, **values):
        self.events.append(Event(kind, 1000 + 10 * len(self.events), vcpu, TID[vcpu], **values))
        return self

    def entry(self, vcpu=0):
        return self.add(Kind.ENTRY, vcpu)

    def exit(self, reason, info=0, vcpu=0):
        return self.add(Kind.EXIT, vcpu, reason=reason, info=info)

    def l1(self, *reasons, vcpu=0):
        """L1 runs and exits for each of `reasons`."""
        for reason in reasons:
            self.entry(vcpu).exit(reason, vcpu=vcpu)
        return self

    def l2(self, reason, info=0, vcpu=0):
        """L2 runs and exits to L0."""
        return self.entry(vcpu).exit(reason, info, vcpu).add(Kind.NESTED_VMEXIT, vcpu, reason=reason)

    def reflect(self, reason, vcpu=0):
        return self.add(Kind.INJECT, vcpu, reason=reason)

    def resume(self, vcpu=0):
        return self.l1(VMREAD, VMRESUME, vcpu=vcpu).add(Kind.VMENTER, vcpu)

    def served(self, reason, info=0, vcpu=0):
        """An exit of L2 that L1 serves, with one more exit of L1 before it resumes L2."""
        return self.l2(reason, info, vcpu).reflect(reason, vcpu).resume(vcpu)

    def recording(self, **changes):
        data = encode(self.events, vcpus={100: 0, 101: 1}, threads={100, 101, 102}, **changes)
        return read(data)

    def timeline(self, **first):
        return locate(self.recording(), **first)


def own(*names, others=()):
    return Own(frozenset(names), frozenset(others))


def operation(guest, what, **changes):
    result = cut(guest.timeline(), level=2, own=own(*what), **changes)
    assert len(result.operations) == 1
    return result.operations[0]


def bracketed(inner):
    """`inner` adds what happens between the markers."""
    guest = Guest().resume()
    guest.served(IO, BEGIN)
    inner(guest)
    return guest.served(IO, END).l2(HLT)


# ---- records


def test_records_come_back_as_they_were():
    guest = Guest().entry(1).exit(IO, BEGIN, vcpu=1).served(CPUID)
    assert guest.recording().events == tuple(guest.events)


TIMES = st.integers(0, 2**60)
EXITS = st.builds(
    lambda tsc, cpu, tid, reason, info, intr, svm: Event(Kind.EXIT, tsc, cpu, tid, reason, info, intr, svm),
    *(TIMES, st.integers(0, 3), st.integers(1, 2**22), st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)),
    *(st.integers(0, 2**32 - 1), st.booleans()),
)
ENTRIES = st.builds(lambda tsc, immediate: Event(Kind.ENTRY, tsc, 0, 7, immediate=immediate), TIMES, st.booleans())


@settings(max_examples=50, deadline=None)
@given(st.lists(EXITS | ENTRIES, max_size=20))
def test_any_events_come_back(events):
    events = sorted(events, key=lambda event: (event.tsc, event.cpu))
    data = encode(events, vcpus={}, threads=set())
    assert read(data).events == tuple(events)
    assert read(gzip.compress(data)).events == tuple(events)


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=200))
def test_noise_is_an_error_and_nothing_else(noise):
    with pytest.raises(TraceError):
        read(noise)
    with contextlib.suppress(TraceError):
        read(MAGIC + noise)


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_a_cut_off_trace_is_an_error(data):
    whole = encode(Guest().served(CPUID).events, vcpus={100: 0}, threads={100})
    for stream in (whole, gzip.compress(whole)):
        with pytest.raises(TraceError):
            read(stream[: data.draw(st.integers(0, len(stream) - 1))])


@pytest.mark.parametrize("lost", [(1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)])
def test_lost_events_are_an_error(lost):
    with pytest.raises(TraceError, match="lost events"):
        Guest().served(CPUID).recording(lost=lost)


@pytest.mark.parametrize(
    ("records", "what"),
    [
        (record(Kind.VMENTER, 1), "an event of no CPU or thread"),
        (record(Kind.CPU, 0, 5) + record(Kind.VMENTER, 1), "an event of no CPU or thread"),
        (record(Kind.VCPU, 100, 0) + record(Kind.VCPU, 100, 1), "thread 100 runs vCPU 0 and vCPU 1"),
        (record(Kind.THREAD, 100, flags=0x40), "no record has the tag 0x4b"),
        (record(7), "no record has the tag 0x7"),
        (bytes([Kind.THREAD]) + b"\x80" * 12 + b"\0", "a number without end"),
    ],
)
def test_damaged_records_are_errors(records, what):
    with pytest.raises(TraceError, match=what):
        read(MAGIC + records + record(Kind.END, 0))


def test_bytes_after_the_end_are_an_error():
    with pytest.raises(TraceError, match="its end says 0"):
        read(MAGIC + record(Kind.END, 0) + b"x")


def test_a_wrong_count_is_an_error():
    guest = Guest().served(CPUID)
    with pytest.raises(TraceError, match="its end says"):
        guest.recording(count=len(guest.events) + 1)


# ---- reasons


def test_reasons_have_names():
    assert name(Event(Kind.EXIT, 0, 0, 0, reason=32)) == "MSR_WRITE"
    assert name(Event(Kind.EXIT, 0, 0, 0, reason=1 << 31 | 33)) == "INVALID_STATE!"
    assert name(Event(Kind.EXIT, 0, 0, 0, reason=0x7C, info=1, svm=True)) == "MSR_WRITE"
    assert name(Event(Kind.EXIT, 0, 0, 0, reason=0x7C, svm=True)) == "MSR_READ"
    assert name(Event(Kind.EXIT, 0, 0, 0, reason=0x4E, svm=True)) == "EXCP_14"


@pytest.mark.parametrize("svm", [False, True])
def test_an_unknown_reason_is_an_error(svm):
    with pytest.raises(TraceError, match="unknown exit reason 0x1234"):
        name(Event(Kind.EXIT, 0, 0, 0, reason=0x1234, svm=svm))


def test_amd_names_are_added():
    assert both({"EXTERNAL_INTERRUPT", "L1:IO_INSTRUCTION"}) == {
        "EXTERNAL_INTERRUPT",
        "INTR",
        "L1:IO_INSTRUCTION",
        "L1:IOIO",
    }


@pytest.mark.parametrize(
    ("reason", "info", "svm", "port"),
    [
        (30, 0x4D10000, False, Port(0x4D1, 1)),
        (30, 0x4D10003, False, Port(0x4D1, 4)),
        (30, 0x4D10008, False, Port(0x4D1, 1, out=False)),
        (30, 0x4D10010, False, None),  # OUTS
        (12, 0x4D10000, False, None),
        (0x7B, 0x4D10110, True, Port(0x4D1, 1)),
        (0x7B, 0x4D10141, True, Port(0x4D1, 4, out=False)),
        (0x7B, 0x4D10114, True, None),
        (0x7C, 0x4D10110, True, None),
    ],
)
def test_ports(reason, info, svm, port):
    assert port_of(Event(Kind.EXIT, 0, 0, 0, reason=reason, info=info, svm=svm)) == port


# ---- levels


def levels(guest, **first):
    return [
        (step.event.kind.name, step.level) for step in guest.timeline(**first).steps if step.event.kind <= Kind.EXIT
    ]


def test_a_reflected_exit_enters_l1_and_one_that_l0_serves_does_not():
    guest = Guest().resume().l2(INTERRUPT).served(CPUID).l2(HLT)
    assert [level for kind, level in levels(guest) if kind == "ENTRY"] == [1, 1, 2, 2, 1, 1, 2]


def test_an_exit_made_up_by_l0_enters_l1():
    """An interrupt for L1 arrives while L2 runs: L0 takes its own kick, then injects EXTERNAL_INTERRUPT."""
    guest = Guest().resume().l2(PREEMPTION).reflect(INTERRUPT).l1(VMREAD)
    assert levels(guest)[-4:] == [("ENTRY", 2), ("EXIT", 2), ("ENTRY", 1), ("EXIT", 1)]


def test_an_exit_of_l2_in_the_fast_path_has_no_nested_vmexit():
    guest = Guest().resume().entry().exit(WRMSR).entry().exit(CPUID).add(Kind.NESTED_VMEXIT, reason=CPUID)
    assert levels(guest)[-4:] == [("ENTRY", 2), ("EXIT", 2), ("ENTRY", 2), ("EXIT", 2)]
    assert guest.timeline().totals[0].nested_entries == 1


def test_a_failed_vmentry_stays_in_l1():
    guest = Guest().resume().add(Kind.VMENTER_FAILED, reason=0).l1(VMREAD)
    assert levels(guest)[-2:] == [("ENTRY", 1), ("EXIT", 1)]
    assert guest.timeline().totals[0].nested_entries == 0


def test_an_entry_that_the_processor_refuses():
    guest = Guest().resume().entry().add(Kind.VMENTER_FAILED, reason=7).l1(VMREAD)
    totals = guest.timeline().totals[0]
    assert (totals.entries, totals.exits, totals.refused, totals.nested_entries) == (4, 3, 1, 0)


def test_an_entry_that_fails_in_the_guest_state_is_no_run():
    guest = Guest().resume().l2(1 << 31 | 33).reflect(1 << 31 | 33).l1(VMREAD)
    assert guest.timeline().totals[0].nested_entries == 0


@pytest.mark.parametrize(
    ("guest", "entries", "late"),
    [
        (Guest().resume(), 0, 1),
        (Guest().resume().reflect(INTERRUPT).l1(VMREAD), 1, 0),
        (Guest().resume().l2(HLT), 1, 0),
    ],
)
def test_a_halted_l2_is_entered_whatever_wakes(guest, entries, late):
    totals = guest.timeline().totals[0]
    assert (totals.nested_entries, totals.late) == (entries, late)


@pytest.mark.parametrize(
    ("guest", "halts"),
    [
        (Guest().l1(HLT), 1),
        (Guest().resume().l2(HLT).l2(INTERRUPT), 1),
        (Guest().resume().l2(HLT).reflect(HLT).l1(VMREAD), 0),
        (Guest().resume().l2(HLT).reflect(INTERRUPT).l1(VMREAD), 1),
        (Guest().resume().served(HLT).l2(HLT), 1),
    ],
)
def test_a_halt_is_l0s_unless_l1_is_to_see_it(guest, halts):
    assert guest.timeline().totals[0].halts == halts


def test_the_first_level_is_told_by_what_follows():
    totals = Guest().l2(INTERRUPT).l2(HLT).timeline().totals[0]
    assert (totals.first, totals.last, totals.nested_entries, totals.early) == (2, 2, 0, 1)
    assert Guest().resume().l2(HLT).timeline().totals[0].first == 1


def test_the_counters_first_level_goes_before():
    assert levels(Guest().entry().exit(WRMSR), first={0: 2}) == [("ENTRY", 2), ("EXIT", 2)]


@pytest.mark.parametrize(
    ("guest", "what"),
    [
        (lambda: Guest().entry().entry(), "without a kvm_exit"),
        (lambda: Guest().exit(CPUID), "without kvm_entry"),
        (lambda: Guest().resume().entry(), "ends inside"),
        (lambda: Guest().resume().l2(HLT).reflect(HLT).l2(HLT), "not entered"),
        (lambda: Guest().resume().add(Kind.NESTED_VMEXIT, reason=CPUID), "without its kvm_exit"),
        (lambda: Guest().resume().entry().exit(HLT).add(Kind.NESTED_VMEXIT, reason=CPUID), "without its kvm_exit"),
    ],
)
def test_an_impossible_order_is_an_error(guest, what):
    with pytest.raises(TraceError, match=what):
        guest().timeline()


def test_events_of_other_vms_are_counted_apart():
    guest = Guest().served(CPUID)
    guest.events += [Event(Kind.ENTRY, 9000, 0, 555), Event(Kind.EXIT, 9001, 0, 555, reason=HLT)]
    timeline = guest.timeline()
    assert timeline.strangers == 2
    assert set(timeline.totals) == {0}


def test_a_thread_of_no_vcpu_is_an_error():
    guest = Guest().served(CPUID)
    guest.events.append(Event(Kind.VMENTER, 9000, 0, 102))
    with pytest.raises(TraceError, match="never entered"):
        guest.timeline()


# ---- operations


def test_an_operation_is_what_lies_between_its_markers():
    found = operation(bracketed(lambda guest: guest.served(CPUID)), {"CPUID"})
    assert found.tokens == ("L2:CPUID", ">L1", "L1:VMREAD", ">L1", "L1:VMRESUME", ">L2")
    assert (found.l0_exits, found.l1_entries, found.foreign) == (3, 2, {})
    assert found.exits == {(0, 2, "CPUID"): 1, (0, 1, "VMREAD"): 1, (0, 1, "VMRESUME"): 1}
    assert found.ticks == 100


def test_a_single_exit_enters_no_l1():
    found = operation(bracketed(lambda guest: guest.l2(WRMSR)), {"MSR_WRITE"})
    assert (found.l0_exits, found.l1_entries, found.tokens) == (1, 0, ("L2:MSR_WRITE", ">L2"))


def test_at_level_1_its_own_resumption_is_no_entry_of_a_hypervisor():
    guest = Guest().entry().exit(IO, BEGIN).entry().exit(CPUID).entry().exit(IO, END)
    (found,) = cut(guest.timeline(), level=1, own=own("CPUID")).operations
    assert (found.l0_exits, found.l1_entries, found.tokens) == (1, 0, ("L1:CPUID", ">L1"))


def test_what_is_not_declared_is_foreign_and_named():
    found = operation(bracketed(lambda guest: guest.l2(INTERRUPT).served(CPUID)), {"CPUID"})
    assert found.foreign == {"EXTERNAL_INTERRUPT": 1}
    assert found.l0_exits == 3
    assert found.tokens[:3] == ("!L2:EXTERNAL_INTERRUPT", "!>L2", "L2:CPUID")


def test_all_of_a_foreign_episode_is_foreign():
    """L1's tick: an exit made up by L0, and L1's handler with its exits."""
    inner = lambda guest: guest.l2(PREEMPTION).reflect(INTERRUPT).resume().served(CPUID)  # noqa: E731
    found = operation(bracketed(inner), {"CPUID"})
    assert found.foreign == {"PREEMPTION_TIMER": 3}
    assert (found.l0_exits, found.l1_entries) == (3, 2)


def test_an_interruption_of_l1_is_foreign_unless_declared():
    def inner(guest):
        guest.l2(CPUID).reflect(CPUID).l1(INTERRUPT).resume()

    found = operation(bracketed(inner), {"CPUID"})
    assert found.foreign == {"L1:EXTERNAL_INTERRUPT": 1}
    assert (found.l0_exits, found.l1_entries) == (3, 2)
    found = operation(bracketed(inner), {"CPUID", "L1:EXTERNAL_INTERRUPT"})
    assert (found.l0_exits, found.l1_entries, found.foreign) == (4, 3, {})


def test_other_vcpus_belong_by_time():
    def inner(guest):
        guest.l2(WRMSR).l2(INTERRUPT, vcpu=1)

    guest = Guest().resume(1).l2(HLT, vcpu=1).resume().served(IO, BEGIN)
    inner(guest)
    guest.served(IO, END).l2(HLT).l2(HLT, vcpu=1)
    (found,) = cut(guest.timeline(), level=2, own=own("MSR_WRITE", others={"EXTERNAL_INTERRUPT", "HLT"})).operations
    assert found.exits == {(0, 2, "MSR_WRITE"): 1, (1, 2, "EXTERNAL_INTERRUPT"): 1}
    assert found.tokens == ("L2:MSR_WRITE", ">L2", "cpu1/>L2", "cpu1/L2:EXTERNAL_INTERRUPT")
    (found,) = cut(guest.timeline(), level=2, own=own("MSR_WRITE")).operations
    assert found.foreign == {"cpu1/EXTERNAL_INTERRUPT": 1}
    (found,) = cut(guest.timeline(), level=2, own=own("MSR_WRITE", others={"*"})).operations
    assert found.foreign == {}


def test_everything_is_own_or_foreign_or_outside():
    guest = bracketed(lambda guest: guest.l2(INTERRUPT).served(CPUID))
    result = cut(guest.timeline(), level=2, own=own("CPUID"))
    assert (result.own, result.foreign) == (9, 3)
    assert result.own + result.foreign + result.outside == len(guest.events)
    assert result.outside_exits["L2:IO_INSTRUCTION"] == 2


@pytest.mark.parametrize(
    ("ports", "what"),
    [
        ([BEGIN], "ends before its end marker"),
        ([BEGIN, BEGIN, END], "second begin marker"),
        ([END], "no begin marker"),
        ([BEGIN, END, END], "operation 1: an end marker"),
    ],
)
def test_a_marker_without_its_partner_is_an_error(ports, what):
    guest = Guest().resume()
    for port in ports:
        guest.served(IO, port)
    with pytest.raises(TraceError, match=what):
        cut(guest.timeline(), level=2, own=own("CPUID"))


def test_an_end_marker_of_another_vcpu_is_an_error():
    guest = Guest().resume().resume(1).served(IO, BEGIN).served(IO, END, vcpu=1)
    with pytest.raises(TraceError, match="no begin marker"):
        cut(guest.timeline(), level=2, own=own("CPUID"))


def test_markers_that_are_the_same_alternate():
    guest = Guest().resume().served(RDMSR).served(IO, WINDOW_BEGIN)
    for _ in range(2):
        guest.served(RDMSR).served(CPUID).served(RDMSR).served(HLT)
    guest.served(IO, WINDOW_END).served(RDMSR)
    first, second = cut(guest.timeline(), level=2, own=own("CPUID"), markers=MSR).operations
    assert [each for each in first.exits if each[1] == 2] == [(0, 2, "CPUID")]
    assert first.exits == second.exits


@pytest.mark.parametrize(("vcpus", "what"), [((0,), "ends before"), ((0, 1), "no begin marker")])
def test_a_marker_whose_like_is_missing_is_an_error(vcpus, what):
    guest = Guest().resume().resume(1).served(IO, WINDOW_BEGIN)
    for vcpu in vcpus:
        guest.served(RDMSR, vcpu=vcpu)
    with pytest.raises(TraceError, match=what):
        cut(guest.timeline(), level=2, own=own("CPUID"), markers=MSR)


def test_markers_of_another_level_are_not_ours():
    guest = bracketed(lambda guest: guest.served(CPUID))
    assert cut(guest.timeline(), level=1, own=own("CPUID")).operations == ()


def test_an_unknown_reason_in_a_trace_is_an_error():
    with pytest.raises(TraceError, match="unknown exit reason"):
        operation(bracketed(lambda guest: guest.l2(999)), {"CPUID"})


# ---- summaries


def test_a_summary_counts_sequences():
    guest = Guest().resume()
    for disturbed in (False, False, True, False):
        guest.served(IO, BEGIN)
        if disturbed:
            guest.l2(INTERRUPT)
        guest.served(CPUID).served(IO, END)
    summary = summarize(cut(guest.l2(HLT).timeline(), level=2, own=own("CPUID")))
    assert summary.ops == 4
    assert (summary.l0_exits.median, summary.l0_exits.max, summary.l1_entries.mean) == (3, 3, 2)
    assert (summary.ticks.median, summary.ticks.p90, summary.ticks.max) == (100, 130, 130)
    assert summary.foreign == {"EXTERNAL_INTERRUPT": 1}
    assert [count for _, count in summary.sequences] == [3, 1]


def test_no_operation_is_an_error():
    with pytest.raises(TraceError, match="no operation between markers"):
        summarize(cut(Guest().served(CPUID).timeline(), level=2, own=own("CPUID")))


# ---- real traces


SVM_CPUID = (
    "L2:CPUID >L1 L1:VMSAVE >L1 L1:VMLOAD >L1 L1:STGI >L1 L1:MSR_READ >L1 L1:CLGI >L1 L1:VMLOAD >L1 L1:VMRUN >L2"
)
VMX_CPUID = "L2:CPUID >L1 L1:MSR_READ >L1 L1:VMRESUME >L2"
VMX_IPI_L1 = "L1:MSR_WRITE >L1 cpu1/>L1"
VMX_IPI = (
    "L2:MSR_WRITE >L1 L1:MSR_WRITE >L1 L1:VMRESUME >L2 "
    "cpu1/>L1 cpu1/L1:LDTR_TR cpu1/>L1 cpu1/L1:MSR_READ cpu1/>L1 cpu1/L1:VMRESUME cpu1/>L2"
)
VMX_EXPIRY = "L2:MSR_WRITE >L1 L1:VMRESUME >L2 L2:EXTERNAL_INTERRUPT >L1 L1:VMRESUME >L2"
INTERRUPTED = {"L1:EXTERNAL_INTERRUPT", "L1:PREEMPTION_TIMER"}
IPI = Own(frozenset({"MSR_WRITE"}), frozenset({"*", "L1"}) | INTERRUPTED)


@pytest.mark.parametrize(
    ("file", "level", "mine", "ops", "exits", "entries", "sequence"),
    [
        ("svm-l1-cpuid", 1, own("CPUID"), 40, 1, 0, "L1:CPUID >L1"),
        ("svm-l2-cpuid", 2, own("CPUID"), 40, 8, 7, SVM_CPUID),
        ("vmx-l1-ipi-halted", 1, IPI, 60, 1, 0, VMX_IPI_L1),
        ("vmx-l2-cpuid", 2, own("CPUID"), 60, 3, 2, VMX_CPUID),
        ("vmx-l2-ipi-halted", 2, IPI, 60, 6, 5, VMX_IPI),
        ("vmx-l2-timer-expiry", 2, own("*", *INTERRUPTED), 60, 4, 2, VMX_EXPIRY),
    ],
)
def test_a_real_trace(file, level, mine, ops, exits, entries, sequence):
    """Linux 6.12.117: a small guest on kvm_amd under QEMU's TCG, the probe on kvm_intel under Bochs."""
    timeline = locate(read((TRACES / f"{file}.trace.gz").read_bytes()))
    summary = summarize(cut(timeline, level=level, own=mine))
    assert (summary.ops, summary.l0_exits.median, summary.l1_entries.median) == (ops, exits, entries)
    assert summary.sequences[0][0] == tuple(sequence.split())
    assert timeline.strangers == 0
