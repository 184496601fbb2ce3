# SPDX-License-Identifier: GPL-2.0-or-later
"""What KVM counted of one VM (`kvmwindow`'s snapshots), the difference of two, and whether it agrees with the trace."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dvhbuild.errors import VerdictError
from dvhbuild.trace import Kind, Timeline, name

MEANING: Mapping[str, str] = {
    "exits": "returns from the guest, each vmx_vcpu_run or svm_vcpu_run one (x86.c, vcpu_enter_guest: fast path and "
    "slow one). The trace has a kvm_exit for each, except where the processor refused the VMCS (VMfail).",
    "nested_run": "entries of L2 on L1's behalf that the processor accepted: vmx.c and svm.c, *_vcpu_run, after the "
    "exit if nested_run_pending. kvm_nested_vmenter comes earlier: it may yet fail, or enter a halted L2, which "
    "is no run when it is woken, either.",
    "guest_mode": "1 while the vCPU is in L2 (kvm_host.h, enter_guest_mode, leave_guest_mode): a state, not a count.",
    "irq_exits": "exits for an interrupt of L0, from any level (vmx.c, handle_external_interrupt; svm.c, "
    "intr_interception). L1 never gets one of these: its own are made up by L0.",
    "io_exits": "INs and OUTs that L0 served (handle_io, io_interception): those of L2 that L1 served are not counted.",
    "mmio_exits": "accesses to emulated memory that left for user space (x86.c, emulator_read_write).",
    "signal_exits": "returns to user space because a signal waits (x86.c, kvm_handle_signal_exit and others); "
    "kvmwindow itself makes some where it freezes the VM.",
    "halt_exits": "HLTs that L0 emulated, and entries of a halted L2 (x86.c, __kvm_emulate_halt; nested_vmx_run).",
    "request_irq_exits": "returns to user space because it wants to inject an interrupt (no in-kernel PIC).",
    "irq_window_exits": "exits because the guest can take interrupts again (handle_interrupt_window).",
    "irq_injections": "interrupts injected through the VMCS (vmx_inject_irq): with APICv few.",
    "req_event": "entries before which KVM looked for events to inject (x86.c, vcpu_enter_guest).",
    "insn_emulation": "instructions that KVM's emulator ran (x86.c, x86_emulate_instruction).",
    "host_state_reload": "returns that brought back the host's segments (vmx_prepare_switch_to_host).",
    "halt_wakeup": "ends of a block in kvm_vcpu_halt (virt/kvm/kvm_main.c).",
}
"""The counters that matter here: what each counts, and where in Linux 6.12."""

NOT_CUMULATIVE = frozenset(
    (
        *("guest_mode", "blocking", "pages_4k", "pages_2m", "pages_1g", "nx_lpage_splits", "mmu_unsync"),
        *("max_mmu_rmap_size", "max_mmu_page_hash_collisions"),
    )
)
"""States and peaks: they have no difference."""

_HEAD = re.compile(r"kvmwindow 1 (stat|begin|end|hold) pid (\d+) tsc (\d+)")
_LINE = re.compile(r"(vcpu(\d+)|debugfs) (\S+) (\d+)")


@dataclass(frozen=True)
class Snapshot:
    """All counters of the VM of process `pid` at one moment; `vm` is debugfs, with the sum of all vCPUs."""

    command: str
    pid: int
    tsc: int
    vcpus: Mapping[int, Mapping[str, int]]
    vm: Mapping[str, int]


@dataclass(frozen=True)
class Difference:
    """What was counted between two snapshots; the same keys without states and peaks. `ticks` of L0's TSC passed."""

    ticks: int
    vcpus: Mapping[int, Mapping[str, int]]
    vm: Mapping[str, int]

    def total(self, counter: str) -> int:
        return sum(values[counter] for values in self.vcpus.values())


def parse(text: str) -> Snapshot:
    """Read what `kvmwindow` printed; raises VerdictError if a line is damaged or missing, or two sources differ."""
    lines = [line for line in text.splitlines() if line.strip()]
    head = _HEAD.fullmatch(lines[0]) if lines else None
    if not head:
        raise VerdictError(f"not a snapshot of kvmwindow: {lines[0] if lines else 'nothing was printed'}")
    if lines[-1] != f"done {len(lines) - 2}":
        raise VerdictError(f"a snapshot of kvmwindow lost lines: {len(lines) - 2} are left, its end is {lines[-1]!r}")
    vcpus: dict[int, dict[str, int]] = {}
    vm: dict[str, int] = {}
    for line in lines[1:-1]:
        match = _LINE.fullmatch(line)
        if not match:
            raise VerdictError(f"a snapshot of kvmwindow has a damaged line: {line!r}")
        where = vm if match[2] is None else vcpus.setdefault(int(match[2]), {})
        if match[3] in where:
            raise VerdictError(f"a snapshot of kvmwindow has a line twice: {line!r}")
        where[match[3]] = int(match[4])
    snapshot = Snapshot(head[1], int(head[2]), int(head[3]), vcpus, vm)
    if head[1] != "stat":  # else the VM ran while it was read
        _both_sources(snapshot)
    return snapshot


def _both_sources(snapshot: Snapshot) -> None:
    for counter in ("exits", "nested_run"):
        binary = sum(values.get(counter, 0) for values in snapshot.vcpus.values())
        if counter not in snapshot.vm or snapshot.vm[counter] != binary:
            raise VerdictError(f"{counter}: binary statistics say {binary}, debugfs says {snapshot.vm.get(counter)}")


def difference(before: Snapshot, after: Snapshot) -> Difference:
    """Subtract; raises VerdictError if the two are not of the same VM."""
    if before.pid != after.pid or before.vcpus.keys() != after.vcpus.keys():
        raise VerdictError(f"snapshots of different VMs: processes {before.pid} and {after.pid}")

    def subtract(old: Mapping[str, int], new: Mapping[str, int]) -> dict[str, int]:
        if old.keys() != new.keys() or any(new[key] < old[key] for key in new.keys() - NOT_CUMULATIVE):
            raise VerdictError(f"counters of process {before.pid} went backwards: another VM, or another order?")
        return {key: new[key] - old[key] for key in new if key not in NOT_CUMULATIVE}

    vcpus = {vcpu: subtract(before.vcpus[vcpu], after.vcpus[vcpu]) for vcpu in sorted(before.vcpus)}
    return Difference(after.tsc - before.tsc, vcpus, subtract(before.vm, after.vm))


def levels(snapshot: Snapshot) -> dict[int, int]:
    """The level that each vCPU was at, for `trace.locate`."""
    return {vcpu: 2 if values["guest_mode"] else 1 for vcpu, values in snapshot.vcpus.items()}


def _comparisons(before: Snapshot, after: Snapshot, timeline: Timeline) -> Iterator[tuple[str, int, int, int]]:
    """Yield (what, counted, traced at least, traced at most)."""
    counted = difference(before, after)
    interrupts = Counter(
        step.vcpu
        for step in timeline.steps
        if step.event.kind is Kind.EXIT and name(step.event) in ("EXTERNAL_INTERRUPT", "INTR")
    )
    for vcpu, values in counted.vcpus.items():
        totals = timeline.totals.get(vcpu)
        entries = totals.entries if totals else 0
        yield f"vcpu{vcpu} exits, kvm_entry", values["exits"], entries, entries
        exits = totals.exits + totals.refused if totals else 0
        yield f"vcpu{vcpu} exits, kvm_exit", values["exits"], exits, exits
        # Entries of a halted L2, which are no runs: counted as HLTs are, but without an exit.
        halted = values["halt_exits"] - (totals.halts if totals else 0)
        runs = (totals.nested_entries if totals else 0) - halted
        most = runs + (totals.early + totals.late if totals else 0)
        yield f"vcpu{vcpu} nested_run, runs of L2", values["nested_run"], runs, most
        yield f"vcpu{vcpu} irq_exits, interrupts", values["irq_exits"], interrupts[vcpu], interrupts[vcpu]
        if totals:
            yield f"vcpu{vcpu} level before", levels(before)[vcpu], totals.first, totals.first
            yield f"vcpu{vcpu} level after", levels(after)[vcpu], totals.last, totals.last


def agree_with_l1(timeline: Timeline, l1: Difference) -> None:
    """Hold what L1 counted of L2 against L0's trace; L2 was stopped at both ends of the window, and for both counts.

    Each return of L2 that L1 counts is the end of an entry that L0 traced. Raises VerdictError that names both numbers.
    """
    traced = sum(totals.nested_entries for totals in timeline.totals.values())
    if l1.total("exits") != traced:
        raise VerdictError(f"L0 traced {traced} entries of L2, L1 counted {l1.total('exits')} (exits)")


def agree(before: Snapshot, after: Snapshot, timeline: Timeline) -> Difference:
    """Hold the counters against the trace of the same window and return their difference.

    Both were taken while the VM was frozen, so they are equal or one is wrong: VerdictError names both numbers.
    """
    for what, counted, least, most in _comparisons(before, after, timeline):
        if not least <= counted <= most:
            raise VerdictError(f"counters and trace disagree: {what}: counted {counted}, traced {least}")
    strange = timeline.totals.keys() - before.vcpus.keys()
    if strange:
        raise VerdictError(f"counters and trace disagree: no counters of traced vCPUs {sorted(strange)}")
    return difference(before, after)
