# SPDX-License-Identifier: GPL-2.0-or-later
"""Names of exit reasons, as the kernel spells them: SDM vol. 3, appendix C, and APM vol. 2, appendix C."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dvhbuild.trace.records import Event, TraceError

# fmt: off
VMX = {
    0: "EXCEPTION_NMI", 1: "EXTERNAL_INTERRUPT", 2: "TRIPLE_FAULT", 3: "INIT_SIGNAL", 4: "SIPI_SIGNAL",
    7: "INTERRUPT_WINDOW", 8: "NMI_WINDOW", 9: "TASK_SWITCH", 10: "CPUID", 12: "HLT", 13: "INVD", 14: "INVLPG",
    15: "RDPMC", 16: "RDTSC", 18: "VMCALL", 19: "VMCLEAR", 20: "VMLAUNCH", 21: "VMPTRLD", 22: "VMPTRST", 23: "VMREAD",
    24: "VMRESUME", 25: "VMWRITE", 26: "VMOFF", 27: "VMON", 28: "CR_ACCESS", 29: "DR_ACCESS", 30: "IO_INSTRUCTION",
    31: "MSR_READ", 32: "MSR_WRITE", 33: "INVALID_STATE", 34: "MSR_LOAD_FAIL", 36: "MWAIT_INSTRUCTION",
    37: "MONITOR_TRAP_FLAG", 39: "MONITOR_INSTRUCTION", 40: "PAUSE_INSTRUCTION", 41: "MCE_DURING_VMENTRY",
    43: "TPR_BELOW_THRESHOLD", 44: "APIC_ACCESS", 45: "EOI_INDUCED", 46: "GDTR_IDTR", 47: "LDTR_TR",
    48: "EPT_VIOLATION", 49: "EPT_MISCONFIG", 50: "INVEPT", 51: "RDTSCP", 52: "PREEMPTION_TIMER", 53: "INVVPID",
    54: "WBINVD", 55: "XSETBV", 56: "APIC_WRITE", 57: "RDRAND", 58: "INVPCID", 59: "VMFUNC", 60: "ENCLS",
    61: "RDSEED", 62: "PML_FULL", 63: "XSAVES", 64: "XRSTORS", 67: "UMWAIT", 68: "TPAUSE", 74: "BUS_LOCK",
    75: "NOTIFY",
}
"""arch/x86/include/uapi/asm/vmx.h, EXIT_REASON_*: bits 15:0 of the exit reason."""

SVM = {
    0x0: "READ_CR0", 0x2: "READ_CR2", 0x3: "READ_CR3", 0x4: "READ_CR4", 0x8: "READ_CR8", 0x10: "WRITE_CR0",
    0x12: "WRITE_CR2", 0x13: "WRITE_CR3", 0x14: "WRITE_CR4", 0x18: "WRITE_CR8", 0x60: "INTR", 0x61: "NMI",
    0x62: "SMI", 0x63: "INIT", 0x64: "VINTR", 0x65: "CR0_SEL_WRITE", 0x66: "IDTR_READ", 0x67: "GDTR_READ",
    0x68: "LDTR_READ", 0x69: "TR_READ", 0x6a: "IDTR_WRITE", 0x6b: "GDTR_WRITE", 0x6c: "LDTR_WRITE", 0x6d: "TR_WRITE",
    0x6e: "RDTSC", 0x6f: "RDPMC", 0x70: "PUSHF", 0x71: "POPF", 0x72: "CPUID", 0x73: "RSM", 0x74: "IRET",
    0x75: "SWINT", 0x76: "INVD", 0x77: "PAUSE", 0x78: "HLT", 0x79: "INVLPG", 0x7a: "INVLPGA", 0x7b: "IOIO",
    0x7d: "TASK_SWITCH", 0x7e: "FERR_FREEZE", 0x7f: "SHUTDOWN", 0x80: "VMRUN", 0x81: "VMMCALL", 0x82: "VMLOAD",
    0x83: "VMSAVE", 0x84: "STGI", 0x85: "CLGI", 0x86: "SKINIT", 0x87: "RDTSCP", 0x88: "ICEBP", 0x89: "WBINVD",
    0x8a: "MONITOR", 0x8b: "MWAIT", 0x8c: "MWAIT_COND", 0x8d: "XSETBV", 0x8e: "RDPRU", 0xa2: "INVPCID", 0x400: "NPF",
    **{0x020 + n: f"READ_DR{n}" for n in range(16)}, **{0x030 + n: f"WRITE_DR{n}" for n in range(16)},
    **{0x040 + n: f"EXCP_{n}" for n in range(32)}, **{0x090 + n: f"CR{n}_WRITE_TRAP" for n in range(16)},
    0x401: "AVIC_INCOMPLETE_IPI", 0x402: "AVIC_UNACCELERATED_ACCESS", 0x403: "VMGEXIT", 0xFFFFFFFF: "ERR",
}
"""arch/x86/include/uapi/asm/svm.h, SVM_EXIT_*; MSR (0x7c) is named by its direction, as Intel does."""
# fmt: on

INTERRUPTIONS = frozenset({"EXTERNAL_INTERRUPT", "PREEMPTION_TIMER", "INTERRUPT_WINDOW", "INTR", "VINTR", "NMI"})
"""Exits of a guest hypervisor that tell of an event, not of something that it did."""

_ALIKE = {
    "EXTERNAL_INTERRUPT": ("INTR",),
    "INTERRUPT_WINDOW": ("VINTR",),
    "IO_INSTRUCTION": ("IOIO",),
    "VMCALL": ("VMMCALL",),
    "EPT_VIOLATION": ("NPF",),
    "EPT_MISCONFIG": ("NPF",),
}
_SVM_MSR = 0x7C
_SVM_IOIO = 0x7B
_VMX_IO = 30
_VMX_FAILED_ENTRY = 1 << 31


def both(names: Iterable[str]) -> frozenset[str]:
    """Add AMD's names to Intel's `names`, so that a reason is declared once; "L1:" may stand before one."""
    result = set()
    for name in names:
        prefix, _, reason = name.rpartition(":")
        result |= {f"{prefix}:{other}" if prefix else other for other in (reason, *_ALIKE.get(reason, ()))}
    return frozenset(result)


def name(event: Event) -> str:
    """Name the reason of a kvm_exit; an entry that the processor refused ends in "!". Raises TraceError if unknown."""
    if event.svm:
        if event.reason == _SVM_MSR:
            return "MSR_WRITE" if event.info & 1 else "MSR_READ"
        found = SVM.get(event.reason)
    else:
        found = VMX.get(event.reason & 0xFFFF)
    if found is None:
        raise TraceError(f"unknown exit reason {event.reason:#x} of {'SVM' if event.svm else 'VMX'}")
    return f"{found}!" if not event.svm and event.reason & _VMX_FAILED_ENTRY else found


@dataclass(frozen=True)
class Port:
    """One access to an I/O port: its number, its size in bytes, and whether it is an OUT."""

    port: int
    size: int
    out: bool = True


def port_of(event: Event) -> Port | None:
    """What a kvm_exit did to a port, if it is an IN or OUT of one item; None for all other exits, strings included.

    VMX: exit qualification, SDM vol. 3, table 29-5; SVM: EXITINFO1, APM vol. 2, 15.10.2.
    """
    info = event.info
    if event.svm:
        if event.reason != _SVM_IOIO or info & 0b1100:
            return None
        return Port(info >> 16 & 0xFFFF, info >> 4 & 7, out=not info & 1)
    if event.reason != _VMX_IO or info & 0b110000:
        return None
    return Port(info >> 16 & 0xFFFF, (info & 7) + 1, out=not info & 8)
