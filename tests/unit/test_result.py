# SPDX-License-Identifier: GPL-2.0-or-later
"""Results as files and as tables."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime

import pydantic
import pytest
from rich.console import Console

from dvhbuild.errors import UserError
from dvhbuild.result import (
    SCHEMA,
    Base,
    Idle,
    Inputs,
    MadeBy,
    Result,
    Row,
    Sequences,
    Task,
    Workload,
    json_schema,
    read,
    traced,
    write,
)
from dvhbuild.tables import tables
from dvhbuild.trace import Crossing, Picture, Spread, Summary

PICTURE = Picture(
    vcpu=0,
    vcpus=(0,),
    ticks=20480,
    crossings=(
        Crossing(ticks=0, vcpu=0, kind="entry", level=2, reason=None, part="outside"),
        Crossing(ticks=848, vcpu=0, kind="exit", level=2, reason="CPUID", part="own"),
        Crossing(ticks=7904, vcpu=0, kind="entry", level=1, reason=None, part="own"),
        Crossing(ticks=11968, vcpu=0, kind="exit", level=1, reason="VMRESUME", part="own"),
        Crossing(ticks=19440, vcpu=0, kind="entry", level=2, reason=None, part="own"),
        Crossing(ticks=20480, vcpu=0, kind="exit", level=2, reason="MSR_READ", part="outside"),
    ),
)
ROW = Row(
    experiment="cpuid",
    operation="cpuid",
    config="base",
    level=2,
    ops=1000,
    lost=0,
    early=0,
    wrong=0,
    l0_exits_per_op=8,
    l0_exits_mean=8.125,
    l0_exits_max=10,
    l1_entries_per_op=7,
    l1_entries_mean=7,
    l1_entries_max=7,
    instructions_p50=15748.5,
    instructions_p90=16000,
    instructions_p99=16000,
    instructions_max=99999,
    instructions_mean=15800.25,
    distribution=((15744, 700), (15760, 250)),
    foreign={"EXTERNAL_INTERRUPT": 3},
    sequences=(Sequences(tokens=("L2:CPUID", ">L1"), count=990),),
    picture=PICTURE,
    counters={"exits": 8100},
    l1_counters={},
)
RESULT = Result(
    made_by=MadeBy(version="0.1.0", commit="ffb88a8", date=datetime(2025, 11, 24, 19, 0, tzinfo=UTC)),
    inputs=Inputs(
        bases={"linux": Base(version="6.12.117-1", origin="linux-source-6.12")},
        series={"linux": ()},
        digests={"kernel": "abc"},
        stack={"name": "base-2cpu", "levels": [{"cpus": 2}]},
        kernel_command_lines=("quiet", "quiet"),
        machine="bochs",
        host_cpu="Some CPU",
        seconds=12.5,
    ),
    rows=(ROW,),
    idle=(
        Idle(
            config="on",
            level=2,
            seconds=10,
            exits={"L2:HLT": 15, "L2:MSR_WRITE": 10},
            l1_entries=4,
            l1_wakeups=0,
            instructions={"L0": 5000, "L1": 30, "L2": 100},
        ),
    ),
    tasks=(
        Task(
            operation="linux-nap",
            config="off",
            ops=50,
            instructions_p50=10,
            instructions_max=20,
            instructions_sum=600,
        ),
    ),
    workloads=(
        Workload(
            workload="tcp-rr",
            config="on",
            level=2,
            transactions=1000,
            exits={"L2:HLT": 12500, "L2:MSR_WRITE": 2000, "L1:VMREAD": 4, "L2:CPUID": 2, "L2:MSR_READ": 1},
            l1_entries=40,
            instructions=118_061_000,
        ),
    ),
)


def test_a_result_comes_back(tmp_path):
    write(RESULT, tmp_path / "new" / "result.json")
    assert read(tmp_path / "new" / "result.json") == RESULT
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["result.json"]


def test_a_result_from_before_pictures_is_read(tmp_path):
    document = json.loads(RESULT.model_dump_json())
    for field in ("distribution", "picture"):
        del document["rows"][0][field]
    (tmp_path / "old.json").write_text(json.dumps(document))
    (row,) = read(tmp_path / "old.json").rows
    assert (row.distribution, row.picture) == ((), None)


def test_the_schema_in_the_repository_is_the_models():
    assert json.loads(SCHEMA.read_text()) == json_schema(), "write json_schema() to dvhbuild/schema/result.json anew"


def damaged(change):
    document = json.loads(RESULT.model_dump_json())
    change(document)
    return json.dumps(document)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda d: d.pop("inputs"), r"\$: 'inputs' is a required property"),
        (lambda d: d.update(version=2), r"\$\.version: 1 was expected"),
        (lambda d: d["rows"][0].update(level=0), r"\$\.rows\[0\]\.level"),
        (lambda d: d["rows"][0].update(level="2"), r"\$\.rows\[0\]\.level"),
        (lambda d: d["rows"][0].update(lost=-1), r"\$\.rows\[0\]\.lost"),
        (lambda d: d["rows"][0].update(extra=1), "extra"),
        (lambda d: d["rows"][0]["foreign"].update(HLT=0), r"\$\.rows\[0\]\.foreign\.HLT"),
        (lambda d: d["rows"][0]["distribution"].append([1]), r"\$\.rows\[0\]\.distribution\[2\]"),
        (lambda d: d["rows"][0]["picture"].pop("ticks"), r"\$\.rows\[0\]\.picture"),
        (lambda d: d["rows"][0]["picture"]["crossings"][0].update(kind="jump"), r"\$\.rows\[0\]\.picture"),
        (lambda d: d["made_by"].update(commit=5), r"\$\.made_by\.commit"),
        (lambda d: d["inputs"].update(stack={}), r"\$\.inputs\.stack: 'name' is a required property"),
        (lambda d: d["inputs"]["stack"].update(levels=5), r"\$\.inputs\.stack\.levels: 5 is not of type 'array'"),
        (lambda d: d["inputs"]["stack"].update(levels=[5]), r"\$\.inputs\.stack\.levels\[0\]: 5 is not of type"),
        (lambda d: d["inputs"]["stack"].update(measured="off"), r"\$\.inputs\.stack\.measured"),
        (lambda d: d["inputs"]["stack"].update(configs=[]), r"\$\.inputs\.stack\.configs"),
        (lambda d: d["rows"][0].update(instructions_p50=1e9), "rows.0: .*instructions_p50 is above instructions_p90"),
        (lambda d: d["rows"][0].update(instructions_p99=1e9), "rows.0: .*instructions_p99 is above instructions_max"),
        (lambda d: d["made_by"].update(date="yesterday"), "made_by.date"),
    ],
)
def test_what_is_no_result_is_an_error_that_names_the_place(tmp_path, change, what):
    path = tmp_path / "result.json"
    path.write_text(damaged(change))
    with pytest.raises(UserError, match=what):
        read(path)


@pytest.mark.parametrize(
    ("content", "what"), [(b"{", "not JSON"), (b"\xff", "cannot be read"), (None, "cannot be read")]
)
def test_what_cannot_be_read_is_an_error(tmp_path, content, what):
    path = tmp_path / "result.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=what):
        read(path)


def test_what_does_not_fit_the_schema_is_not_written(tmp_path):
    path = tmp_path / "result.json"
    path.write_text("old")
    wrong = RESULT.model_copy(update={"rows": (ROW.model_copy(update={"level": 9}),)})
    with pytest.raises(UserError, match=r"\$\.rows\[0\]\.level"):
        write(wrong, path)
    assert path.read_text() == "old"


def test_a_result_cannot_be_changed():
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        ROW.ops = 5


def test_figures_of_a_trace_become_a_row():
    spread = Spread(8, 8.125, 9, 10)
    summary = Summary(40, spread, Spread(7, 7, 7, 7), spread, {"HLT": 2}, ((("L2:CPUID", ">L1"), 40),))
    fields = traced(summary, PICTURE, {"exits": 320, "invlpg": 0}, {"exits": 7, "invlpg": 0})
    row = Row(**{**ROW.model_dump(), **fields})
    assert (row.l0_exits_per_op, row.l0_exits_max, row.l1_entries_per_op) == (8, 10, 7)
    assert row.foreign == {"HLT": 2}
    assert row.counters == {"exits": 320}
    assert row.l1_counters == {"exits": 7}
    assert row.sequences[0].tokens == ("L2:CPUID", ">L1")
    assert row.picture == PICTURE


def shown(result):
    console = Console(width=200, record=True, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123
    console.print(*tables(result, ()))
    return [" ".join(line.split()) for line in console.export_text().splitlines() if " on " in line or "," in line]


def test_the_tables_show_every_row():
    assert "cpuid base 2 1,000 0 8 10 7 7 15,748.5 16,000 16,000 99,999" in shown(RESULT)
    assert "linux on 2 10 2.5 0.4 0 500 3 10" in shown(RESULT)  # a second
    often = "12.5 L2:HLT, 2.00 L2:MSR_WRITE, 0.004 L1:VMREAD, 0.002 L2:CPUID"  # and less often than these: MSR_READ
    assert f"tcp-rr on 2 1,000 14.5 0.040 118,061 {often}" in shown(RESULT)  # a transaction


def test_what_was_not_measured_has_no_table():
    assert len(tables(RESULT, ())) == 4
    assert len(tables(RESULT.model_copy(update={"idle": (), "tasks": (), "workloads": ()}), ())) == 1
