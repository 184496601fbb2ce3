# SPDX-License-Identifier: GPL-2.0-or-later
"""The records that kvmwindow cuts out of the kernel's trace (the format is in guest/tools/cut.c): bytes to events."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from itertools import islice
from operator import attrgetter
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
"""Numbers in a record of each kind, without what its flags add."""
_FLAGS = {Kind.ENTRY: 0x10, Kind.EXIT: 0x70, Kind.INJECT: 0x20}
_INFO = _IMMEDIATE = 0x10
_INTR = 0x20
_SVM = 0x40

_TAGS = {
    kind | flags: (kind, count + (kind is Kind.EXIT and bool(flags & _INFO)) + bool(flags & _INTR))
    for kind, count in _OPERANDS.items()
    for flags in range(0, 0x80, 0x10)
    if not flags & ~_FLAGS.get(kind, 0)
}
"""By tag: the kind of record, and the numbers that follow."""

_VARINT = re.compile(rb"[\x80-\xff]*[\x00-\x7f]")
_VARINT_BYTES = 10


class _Varints(dict[bytes, int]):
    """LEB128, each code worked out once: a trace repeats itself."""

    def __missing__(self, code: bytes) -> int:
        if len(code) > _VARINT_BYTES:
            raise TraceError("trace damaged: a number without end")
        value = 0
        for byte in reversed(code):
            value = value << 7 | byte & 0x7F
        self[code] = value
        return value


class _Reader:
    """Builds a Recording out of one stream of records: all of it is numbers, tags too."""

    def __init__(self, data: bytes) -> None:
        self.complete = data[-1] < 0x80  # else a number has no end
        self.numbers = map(_Varints().__getitem__, _VARINT.findall(data, len(MAGIC)))
        self.events: list[Event] = []
        self.vcpus: dict[int, int] = {}
        self.threads: set[int] = set()
        self.cpu: int | None = None
        self.tid: int | None = None
        self.tsc = 0

    def damaged(self, what: str) -> TraceError:
        return TraceError(f"trace damaged after {len(self.events)} events: {what}")

    def event(self, kind: Kind, tag: int, operands: tuple[int, ...]) -> None:
        if self.cpu is None or self.tid is None:
            raise self.damaged("an event of no CPU or thread")
        self.tsc += operands[0]
        reason = operands[1] if len(operands) > 1 else 0
        info = operands[2] if kind is Kind.EXIT and tag & _INFO else 0
        intr = operands[-1] if tag & _INTR else 0
        immediate = kind is Kind.ENTRY and bool(tag & _IMMEDIATE)
        self.events.append(Event(kind, self.tsc, self.cpu, self.tid, reason, info, intr, bool(tag & _SVM), immediate))

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
        for tag in self.numbers:
            try:
                kind, count = _TAGS[tag]
            except KeyError:
                raise self.damaged(f"no record has the tag {tag:#x}") from None
            operands = tuple(islice(self.numbers, count))
            if len(operands) < count:
                break
            if kind <= Kind.VMENTER_FAILED:
                self.event(kind, tag, operands)
            elif kind is Kind.END:
                return self.finish(operands[0])
            else:
                self.about(kind, operands)
        raise TraceError("trace damaged: it ends in the middle")

    def finish(self, count: int) -> Recording:
        if count != len(self.events) or not self.complete or next(self.numbers, None) is not None:
            raise TraceError(f"trace damaged: {len(self.events)} events, its end says {count}")
        events = sorted(self.events, key=attrgetter("tsc"))  # stable: within a CPU the order stays
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
    return _Reader(data).read()
