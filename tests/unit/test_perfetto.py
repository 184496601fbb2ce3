# SPDX-License-Identifier: GPL-2.0-or-later
"""Traces as Chrome's trace events: what the format asks for, and all that the trace has."""

from __future__ import annotations

import gzip
import json
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path

import pytest
from test_pictures import REAL
from test_result import ROW
from test_trace import HLT, IO, TID, Guest, encode

from dvhbuild import counters, perfetto
from dvhbuild.errors import HostError
from dvhbuild.trace import Kind, TraceError, cut, locate, name, read
from dvhbuild.traces import Traced, pack, unpack

TRACES = Path(__file__).parent / "traces"


def recorded(file, level, mine):
    levels = counters.levels(counters.parse((TRACES / f"{file}.before").read_text()))
    data = (TRACES / f"{file}.trace.gz").read_bytes()
    operations = cut(locate(read(data), levels), level=level, own=mine).operations
    return Traced(ROW, data, levels, tuple((each.begin, each.end) for each in operations))


def opened(path):
    return json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]


def named(events, what):
    return {(each["pid"], each["tid"]): each["args"]["name"] for each in events if each["name"] == f"{what}_name"}


@pytest.mark.parametrize("real", REAL, ids=lambda real: real[0])
def test_all_of_a_trace_is_there(real):
    traced = recorded(*real)
    timeline, events = traced.timeline, list(perfetto.events(traced, 7))
    slices = [each for each in events if each["ph"] == "X"]
    names = named(events, "thread")
    by_level = Counter(
        (names[each["pid"], each["tid"]].rpartition(": ")[2], json.dumps(each["args"])) for each in slices
    )
    exits = Counter(
        (f"L{step.level}", json.dumps({"exit": name(step.event)}))
        for step in timeline.steps
        if step.event.kind is Kind.EXIT
    )
    assert {key: count for key, count in by_level.items() if key[0] in ("L1", "L2")} == exits
    entries = sum(step.event.kind is Kind.ENTRY for step in timeline.steps)
    begun = len(timeline.totals)  # of these, what was before is not known
    assert sum(count for (level, _), count in by_level.items() if level == "L0") == entries - begun
    instants = Counter(each["name"] for each in events if each["ph"] == "i")
    assert instants["kvm_nested_vmexit"] == sum(step.event.kind is Kind.NESTED_VMEXIT for step in timeline.steps)
    assert sum(each["tid"] % 100 == 1 and each["ph"] == "X" for each in events) == len(traced.operations)


@pytest.mark.parametrize("real", REAL, ids=lambda real: real[0])
def test_events_are_as_the_format_asks(real):
    """Times are whole microseconds, durations not negative, and slices of a thread nest: here, they do not touch."""
    threads = defaultdict(list)
    for each in perfetto.events(recorded(*real), 7):
        assert each["ph"] in "XiM"
        assert (each["pid"], each["tid"] // 100) == (7, 7)
        assert isinstance(each["name"], str)
        if each["ph"] != "M":
            assert isinstance(each["ts"], int)
            assert each["ts"] >= 0
        if each["ph"] == "X":
            assert isinstance(each["dur"], int)
            threads[each["tid"]].append((each["ts"], each["ts"] + each["dur"]))
    for spans in threads.values():
        assert all(begin <= end for begin, end in spans)
        assert all(left[1] <= right[0] for left, right in pairwise(spans))
    on_vcpus = sorted(span for thread, spans in threads.items() if 10 <= thread % 100 < 20 for span in spans)
    assert all(left[1] == right[0] for left, right in pairwise(on_vcpus))  # some level runs all the time


def test_an_exit_says_who_left_and_who_is_entered():
    guest = Guest().resume().served(IO).l2(HLT)
    data = encode(guest.events, vcpus={100: 0}, threads={*TID.values()})
    events = perfetto.events(Traced(ROW, data, {0: 1}, ()), 1)
    told = [(each["name"], each["args"]) for each in events if each["ph"] == "X" and each["tid"] == 110]
    assert told[2] == ("IO_INSTRUCTION", {"exit of": "L2", "reason": "IO_INSTRUCTION", "entry of": "L1"})
    assert told[4] == ("VMRESUME", {"exit of": "L1", "reason": "VMRESUME", "entry of": "L2"})


def test_each_row_is_a_process(tmp_path):
    traced = recorded(*REAL[0])
    traces = [
        Traced(ROW.model_copy(update={"operation": f"op<{number}>"}), traced.data, traced.levels, traced.operations)
        for number in range(3)
    ]
    perfetto.write(tmp_path / "traces.json.gz", traces)
    events = opened(tmp_path / "traces.json.gz")
    assert list(named(events, "process").values()) == [f"op<{number}> base L2" for number in range(3)]
    assert len({each["tid"] for each in events}) == 3 * len({each["tid"] % 100 for each in events})


def test_no_row_is_a_trace_too(tmp_path):
    perfetto.write(tmp_path / "traces.json.gz", [])
    assert opened(tmp_path / "traces.json.gz") == []


def test_what_fails_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "traces.json.gz"
    path.write_text("old")
    traced = recorded(*REAL[0])
    with pytest.raises(TraceError):
        perfetto.write(path, [traced, Traced(ROW, b"", {}, ())])
    monkeypatch.setattr(
        gzip.GzipFile, "write", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    with pytest.raises(HostError, match=r"traces.json.gz: cannot be written: No space left"):
        perfetto.write(path, [traced])
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["traces.json.gz"]


# ---- as they are kept


def test_traces_come_back_as_they_were_packed():
    traces = [recorded(*real) for real in REAL]
    assert list(unpack(pack(traces), [ROW] * len(traces))) == traces
    assert list(unpack(pack([]), [])) == []
