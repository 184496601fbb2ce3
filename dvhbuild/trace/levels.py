# SPDX-License-Identifier: GPL-2.0-or-later
"""Which level each entry enters and each exit leaves: KVM's tracepoints do not say it, their order does.

In Linux 6.12 (vmx/nested.c, vmx/vmx.c; svm/nested.c, svm/svm.c alike):

* kvm_nested_vmenter comes once for each VMLAUNCH, VMRESUME or VMRUN of L1 that passed the checks of controls; from then
  on L2 is entered, unless kvm_nested_vmenter_failed follows before the next kvm_entry (the checks of L2's state). VMX
  can enter it halted: then it sleeps, and kvm_entry follows when it is woken, or kvm_nested_vmexit_inject when L1 is.
  That a vCPU was woken from a halted entry, only the counters tell.
* kvm_nested_vmexit comes after the kvm_exit of *every* exit of L2 that takes the slow path, also of one that L0 serves
  itself: it proves that L2 had run, and says nothing about L1.
* kvm_nested_vmexit_inject alone means that L1 is entered next. It comes after a reflected exit, and also by itself when
  L0 makes an exit up, as it does (EXTERNAL_INTERRUPT, INTR) when an interrupt for L1 arrives while L2 runs or sleeps.
* kvm_exit without kvm_nested_vmexit, and kvm_entry at once after it, is an exit served in the fast path.
* kvm_entry without kvm_exit: the processor refused vmcs02 (VMfail); kvm_nested_vmenter_failed follows, L1 is next.

Not traced, and so not known here: entries that fail in loading L2's MSRs or page-directory pointers, forced departures
(vmx_leave_nested, SMM). The counters tell: `counters.agree` compares `nested_run` and `guest_mode`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from dvhbuild.trace.reasons import name
from dvhbuild.trace.records import Event, Kind, Recording, TraceError


class Step(NamedTuple):
    """One event of a vCPU of the VM. `level` is what an ENTRY enters and an EXIT leaves; else what is entered next."""

    event: Event
    vcpu: int
    level: int


@dataclass(frozen=True)
class VcpuTotals:
    """What the trace says of one vCPU, in the counters' terms.

    `entries` and `exits` count kvm_entry and kvm_exit, `refused` entries without an exit (VMfail), `nested_entries` the
    entries of L2 on L1's behalf that were accepted: it ran, or was entered halted. `early` is 1 if L2's first run may
    be for one more, as its kvm_nested_vmenter may have come before the window, `late` if the last one had not run at
    the end. `halts` counts HLTs that L0 emulated; `first` and `last` are the levels at both ends of the window.
    """

    entries: int
    exits: int
    refused: int
    nested_entries: int
    early: int
    late: int
    halts: int
    first: int
    last: int


@dataclass(frozen=True)
class Timeline:
    """The events of one VM in the order of time; `strangers` counts events of other VMs, which are not among them."""

    steps: tuple[Step, ...]
    totals: Mapping[int, VcpuTotals]
    strangers: int


class _Tracker:
    """Follows one vCPU through its events."""

    def __init__(self, vcpu: int, events: list[Event], first: int | None) -> None:
        self.vcpu = vcpu
        self.events = events
        self.first = self.level = _first_level(events) if first is None else first
        self.pending = False  # kvm_nested_vmenter seen, not run yet
        self.fresh = self.level == 2  # L2's first entry in the window is still to come
        self.entered = False
        self.hlt: int | None = None  # the reason of an exit for HLT that L1 may be to see
        self.entries = self.exits = self.refused = self.nested_entries = self.early = self.halts = 0

    def wrong(self, event: Event, what: str) -> TraceError:
        return TraceError(f"vCPU {self.vcpu}, tsc {event.tsc}: {what}")

    def step(self, index: int) -> Step:
        event = self.events[index]
        match event.kind:
            case Kind.ENTRY:
                if self.entered:
                    raise self.wrong(event, "two kvm_entry without a kvm_exit")
                self.entered = True
                self.entries += 1
            case Kind.EXIT:
                self.leave(event)
            case Kind.NESTED_VMEXIT:
                self.confirm(index)
            case Kind.VMENTER:
                self.level = 2
                self.pending = True
            case Kind.INJECT:
                self.level = 1
                self.nested_entries += self.pending  # halted: what has yet to run is not left for an event
                self.halts -= event.reason == self.hlt
                self.hlt = None
                self.pending = self.fresh = False
            case Kind.VMENTER_FAILED:
                self.level = 1
                self.pending = self.fresh = False
                self.refused += self.entered
                self.entered = False
        return Step(event, self.vcpu, self.level)

    def leave(self, event: Event) -> None:
        if not self.entered:
            raise self.wrong(event, "kvm_exit without kvm_entry")
        self.entered = False
        self.exits += 1
        if self.level == 2 and not event.svm and event.reason >> 31:
            self.pending = self.fresh = False
        self.nested_entries += self.pending
        self.early += self.fresh and not self.pending
        self.pending = self.fresh = False
        self.hlt = event.reason if name(event) == "HLT" else None
        self.halts += self.hlt is not None

    def confirm(self, index: int) -> None:
        event = self.events[index]
        previous = self.events[index - 1] if index else None
        if previous is None or previous.kind is not Kind.EXIT or previous.reason != event.reason:
            raise self.wrong(event, "kvm_nested_vmexit without its kvm_exit")
        if self.level != 2:
            raise self.wrong(event, "an exit of L2, which was not entered")

    def totals(self) -> VcpuTotals:
        if self.entered:
            raise self.wrong(self.events[-1], "the window ends inside the guest")
        return VcpuTotals(
            entries=self.entries,
            exits=self.exits,
            refused=self.refused,
            nested_entries=self.nested_entries,
            early=self.early,
            late=int(self.pending),
            halts=self.halts,
            first=self.first,
            last=self.level,
        )


def _first_level(events: list[Event]) -> int:
    """Tell the level at the window's begin from the first event that only one level can have made."""
    for event in events:
        if event.kind in (Kind.NESTED_VMEXIT, Kind.INJECT):
            return 2
        if event.kind is Kind.VMENTER:
            return 1
    return 1


def locate(recording: Recording, first: Mapping[int, int] | None = None) -> Timeline:
    """Give each event of the VM its vCPU and level; `first` maps vCPUs to the level that each was at before the window.

    Raises TraceError if the events cannot come from KVM in this order.
    """
    streams: dict[int, list[Event]] = {}
    places: list[tuple[int, int]] = []
    strangers = 0
    for event in recording.events:
        if event.tid not in recording.threads:
            strangers += 1
            continue
        if event.tid not in recording.vcpus:
            raise TraceError(f"thread {event.tid} of the VM never entered a guest, but {event.kind.name} is its")
        stream = streams.setdefault(recording.vcpus[event.tid], [])
        places.append((recording.vcpus[event.tid], len(stream)))
        stream.append(event)
    trackers = {vcpu: _Tracker(vcpu, events, (first or {}).get(vcpu)) for vcpu, events in streams.items()}
    steps = tuple(trackers[vcpu].step(index) for vcpu, index in places)
    return Timeline(steps, {vcpu: tracker.totals() for vcpu, tracker in sorted(trackers.items())}, strangers)
