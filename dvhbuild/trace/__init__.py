# SPDX-License-Identifier: GPL-2.0-or-later
"""What KVM in L0 traced of a window (`kvmwindow`), as one sequence of exits and entries for each operation.

    cut(locate(read(data)), level=2, own=Own(actor=frozenset({"CPUID"}))) -> operations; summarize() -> figures

What it is not for: the counters (`dvhbuild.counters`), which must agree with it.
"""

from dvhbuild.trace.levels import Step, Timeline, VcpuTotals, locate
from dvhbuild.trace.operations import MSR, PORTS, Cut, Markers, Operation, Own, cut
from dvhbuild.trace.picture import Crossing, Picture, picture
from dvhbuild.trace.reasons import Port, both, name
from dvhbuild.trace.records import Event, Kind, Recording, TraceError, read
from dvhbuild.trace.summary import Spread, Summary, summarize

__all__ = [
    "MSR",
    "PORTS",
    "Crossing",
    "Cut",
    "Event",
    "Kind",
    "Markers",
    "Operation",
    "Own",
    "Picture",
    "Port",
    "Recording",
    "Spread",
    "Step",
    "Summary",
    "Timeline",
    "TraceError",
    "VcpuTotals",
    "both",
    "cut",
    "locate",
    "name",
    "picture",
    "read",
    "summarize",
]
