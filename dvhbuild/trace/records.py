# SPDX-License-Identifier: GPL-2.0-or-later
"""The records that kvmwindow cuts out of the kernel's trace (the format is in guest/tools/cut.c): bytes to events."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from dvhbuild.errors import VerdictError

MAGIC = b"DVHTRC1\n"
_GZIP = b"\x1f\x8b"


class TraceError(VerdictError):
    """A trace that cannot be trusted: events lost, cut off, or in an order that KVM cannot have made."""


class Kind(IntEnum):
    """What a record says. 1 to 6 are events, by the kernel's tracepoint; the rest is about the trace itself."""

    ENTRY = 1  # kvm_entry
    EXIT = 2  # kvm_exit
    NESTED_VMEXIT = 3  # kvm_nested_vmexit: L0 looks at an exit of L2
    INJECT = 4  # kvm_nested_vmexit_inject: L1 is to see an exit of L2
    VMENTER = 5  # kvm_nested_vmenter: L1's VMLAUNCH, VMRESUME or VMRUN
    VMENTER_FAILED = 6  # kvm_nested_vmenter_failed
    CPU = 8
    RUNS = 9
    VCPU = 10
    THREAD = 11
    LOST = 12
    END = 15


class Event(NamedTuple):
    """One event of the kernel's trace.

    `tsc` is L0's time-stamp counter; `cpu` and `tid` say where it happened. `reason` is the exit reason, or the error
    of a failed entry; `info` is EXIT's info1 (exit qualification, EXITINFO1), `intr` its interruption information.
    """

    kind: Kind
    tsc: int
    cpu: int
    tid: int
    reason: int = 0
    info: int = 0
    intr: int = 0
    svm: bool = False
    immediate: bool = False


@dataclass(frozen=True)
class Recording:
    """All events of a window, in the order of time; `vcpus` maps threads to vCPUs; `threads` are those of the VM."""

    events: tuple[Event, ...]
    vcpus: Mapping[int, int]
    threads: frozenset[int]


_OPERANDS = {
    Kind.ENTRY: 1,
    Kind.EXIT: 2,
    Kind.NESTED_VMEXIT: 2,
    Kind.INJECT: 2,
    Kind.VMENTER: 1,
    Kind.VMENTER_FAILED: 2,
    Kind.CPU: 2,
    Kind.RUNS: 1,
    Kind.VCPU: 2,
    Kind.THREAD: 1,
    Kind.LOST: 4,
    Kind.END: 1,
}
_FLAGS = {Kind.ENTRY: 0x10, Kind.EXIT: 0x70, Kind.INJECT: 0x20}
_INFO = _IMMEDIATE = 0x10
_INTR = 0x20
_SVM = 0x40
_VARINT_LIMIT = 64


class _Reader:
    """Builds a Recording out of one stream of records."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = len(MAGIC)
        self.events: list[Event] = []
        self.vcpus: dict[int, int] = {}
        self.threads: set[int] = set()
        self.cpu: int | None = None
        self.tid: int | None = None
        self.tsc = 0

    def number(self) -> int:
        value = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift >= _VARINT_LIMIT:
                raise TraceError(f"trace damaged at byte {self.at}: a number without end")

    def event(self, kind: Kind, flags: int, delta: int, reason: int = 0) -> None:
        if self.cpu is None or self.tid is None:
            raise TraceError(f"trace damaged at byte {self.at}: an event of no CPU or thread")
        info = self.number() if kind is Kind.EXIT and flags & _INFO else 0
        intr = self.number() if flags & _INTR else 0
        self.tsc += delta
        immediate = kind is Kind.ENTRY and bool(flags & _IMMEDIATE)
        self.events.append(Event(kind, self.tsc, self.cpu, self.tid, reason, info, intr, bool(flags & _SVM), immediate))

    def about(self, kind: Kind, operands: tuple[int, ...]) -> None:
        if kind is Kind.CPU:
            self.cpu, self.tsc = operands
            self.tid = None
        elif kind is Kind.RUNS:
            (self.tid,) = operands
        elif kind is Kind.THREAD:
            self.threads.add(operands[0])
        elif kind is Kind.VCPU:
            tid, vcpu = operands
            if self.vcpus.setdefault(tid, vcpu) != vcpu:
                raise TraceError(f"thread {tid} runs vCPU {self.vcpus[tid]} and vCPU {vcpu}")
        elif kind is Kind.LOST and any(operands):
            overrun, commit, dropped, missed = operands
            raise TraceError(
                f"the trace lost events: overrun {overrun}, commit overrun {commit}, dropped {dropped}, gaps {missed}",
                remedy="give `kvmwindow begin` a larger buffer, or run fewer operations",
            )

    def read(self) -> Recording:
        while True:
            tag = self.data[self.at]
            self.at += 1
            try:
                kind = Kind(tag & 0xF)
            except ValueError:
                raise TraceError(f"trace damaged at byte {self.at}: no record of kind {tag & 0xF}") from None
            flags = tag & 0xF0
            if flags & ~_FLAGS.get(kind, 0):
                raise TraceError(f"trace damaged at byte {self.at}: flags {flags:#x} on a record of kind {kind.name}")
            operands = tuple(self.number() for _ in range(_OPERANDS[kind]))
            if kind is Kind.END:
                return self.finish(operands[0])
            if kind <= Kind.VMENTER_FAILED:
                self.event(kind, flags, *operands)
            else:
                self.about(kind, operands)

    def finish(self, count: int) -> Recording:
        if count != len(self.events) or self.at != len(self.data):
            raise TraceError(f"trace damaged: {len(self.events)} events, its end says {count}")
        events = sorted(self.events, key=lambda event: event.tsc)  # stable: within a CPU the order stays
        return Recording(tuple(events), self.vcpus, frozenset(self.threads))


def read(data: bytes) -> Recording:
    """Parse what `kvmwindow end PID FILE` wrote, gzipped or not; raises TraceError if damaged or if events are lost."""
    if data.startswith(_GZIP):
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise TraceError(f"trace damaged: {error}") from error
    if not data.startswith(MAGIC):
        raise TraceError("not a trace of kvmwindow")
    try:
        return _Reader(data).read()
    except IndexError:
        raise TraceError("trace damaged: it ends in the middle") from None
