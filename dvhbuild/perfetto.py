# SPDX-License-Identifier: GPL-2.0-or-later
"""Whole traces as Chrome's trace events (JSON, gzipped), which ui.perfetto.dev and chrome://tracing read.

Each row of a result is a process there. It has a thread for its operations, and one for each level on each vCPU. An
instruction is shown as a microsecond, the format's unit: a whole number, so that nothing is rounded.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from dvhbuild import files
from dvhbuild.trace import Kind, Step, name
from dvhbuild.traces import Traced

LEVEL = 6
"""How hard gzip tries."""

THREADS = 100
"""Numbers of threads for each process: a reader takes them for those of one machine, so that none may occur twice."""

OPERATIONS = 1
"""Which of these has the operations; 10 for each vCPU follow."""

_WHAT = {
    Kind.NESTED_VMEXIT: "kvm_nested_vmexit",
    Kind.INJECT: "kvm_nested_vmexit_inject",
    Kind.VMENTER: "kvm_nested_vmenter",
    Kind.VMENTER_FAILED: "kvm_nested_vmenter_failed",
}
"""Events that are neither exits nor entries, by the kernel's names."""

Event = dict[str, Any]


def write(path: Path, traces: Iterable[Traced]) -> None:
    """Write `traces` to `path`, all of them or nothing; raises HostError if the disk fails."""
    with files.replacement(path) as file, gzip.open(file, "wt", LEVEL, "utf-8") as text:
        text.write('{"traceEvents":[')
        separator = "\n"
        for process, traced in enumerate(traces, 1):
            for event in events(traced, process):
                text.write(separator + json.dumps(event, separators=(",", ":")))
                separator = ",\n"
        text.write("\n]}\n")


def events(traced: Traced, process: int) -> Iterator[Event]:
    """The trace events of one row, times from the trace's first event on."""
    timeline, row = traced.timeline, traced.row
    if not timeline.steps:
        return
    zero = timeline.steps[0].event.tsc
    base = process * THREADS
    yield _named("process", process, base, f"{row.operation} {row.config} L{row.level}")
    yield _named("thread", process, base + OPERATIONS, "operations")
    for number, (begin, end) in enumerate(traced.operations):
        span = begin - zero, end - zero
        yield _slice(process, base + OPERATIONS, span, f"{row.operation} {number}", {})
    for vcpu in timeline.totals:
        steps = [step for step in timeline.steps if step.vcpu == vcpu]
        thread = base + 10 * (vcpu + 1)
        for level in sorted({step.level for step in steps} | {0}, reverse=True):
            yield _named("thread", process, thread + level, f"vCPU {vcpu}: L{level}")
        yield from _vcpu(steps, zero, process, thread)


def _vcpu(steps: list[Step], zero: int, process: int, thread: int) -> Iterator[Event]:
    """What ran on one vCPU when: from entry to exit a guest's level, from exit to entry L0."""
    last: Step | None = None
    for step in steps:
        now = step.event.tsc - zero
        if step.event.kind in _WHAT:
            what = {"ph": "i", "s": "t", "pid": process, "tid": thread, "ts": now, "name": _WHAT[step.event.kind]}
            yield {**what, "args": {"reason": step.event.reason}}
            continue
        if last is not None:
            span = last.event.tsc - zero, now
            if step.event.kind is Kind.EXIT:
                yield _slice(process, thread + step.level, span, f"L{step.level}", {"exit": name(step.event)})
            elif last.event.kind is Kind.EXIT:
                args = {"exit of": f"L{last.level}", "reason": name(last.event), "entry of": f"L{step.level}"}
                yield _slice(process, thread, span, name(last.event), args)
        last = step


def _named(what: str, process: int, thread: int, text: str) -> Event:
    return {"ph": "M", "pid": process, "tid": thread, "name": f"{what}_name", "args": {"name": text}}


def _slice(process: int, thread: int, span: tuple[int, int], text: str, args: Event) -> Event:
    begin, end = span
    return {"ph": "X", "pid": process, "tid": thread, "ts": begin, "dur": end - begin, "name": text, "args": args}
