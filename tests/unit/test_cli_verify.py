# SPDX-License-Identifier: GPL-2.0-or-later
"""`verify` and `compare`: what they say of a result, and with which exit status they end."""

from __future__ import annotations

import json
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner
from test_perfetto import REAL, opened, recorded
from test_result import RESULT, ROW

from dvhbuild import cli, cli_verify
from dvhbuild.errors import UserError, VerdictError
from dvhbuild.result import read, write
from dvhbuild.verdict import Bound

TRACED = recorded(*REAL[0])
LOST = ROW.model_copy(update={"lost": 2, "early": 1})


@pytest.fixture
def verify(monkeypatch, tmp_path):
    """Run `verify` with a result that has been measured already; returns what it said, and its error."""
    monkeypatch.setenv("DVHBUILD_CACHE", str(tmp_path / "cache"))

    def run(row, *words):
        monkeypatch.setattr(cli_verify, "perform", lambda *_: RESULT.model_copy(update={"rows": (row,)}))
        done = CliRunner().invoke(cli.cli, ["verify", "--json", str(tmp_path / "result.json"), *map(str, words)])
        return done.output, done.exception

    return run


def test_a_result_whose_bounds_hold(verify, tmp_path):
    said, error = verify(ROW)
    assert error is None
    assert said.splitlines()[-2:] == [
        f"result: {tmp_path / 'result.json'}",
        (
            "6 bounds hold on 1 row; the tightest: cpuid at level 2 (base): instructions_p50 is 15,748.5, "
            "bound at least 13,386 and at most 18,110, 13% to spare"
        ),
    ]
    assert read(tmp_path / "result.json").rows == (ROW,)


def test_each_bound_that_does_not_hold_has_its_line(verify):
    said, error = verify(LOST)
    assert [line for line in said.splitlines() if line.startswith(("FAILED", "4 of"))] == [
        "4 of 6 bounds hold on 1 row",
        "FAILED cpuid at level 2 (base): lost is 2, bound at most 0 (every interrupt arrives)",
        "FAILED cpuid at level 2 (base): early is 1, bound at most 0 (no timer before its deadline)",
    ]
    assert isinstance(error, VerdictError)
    assert error.message == (
        "2 bounds do not hold, the first: cpuid at level 2 (base): lost is 2, bound at most 0 (every interrupt arrives)"
    )
    assert verify(ROW.model_copy(update={"lost": 1}))[1].message.startswith("1 bound does not hold: cpuid at")


def test_all_bounds_are_shown_if_asked_for(verify):
    assert "kvm-unit-tests cpuid: 15,748" not in verify(ROW)[0]
    assert "kvm-unit-tests cpuid: 15,748" in verify(ROW, "--bounds")[0]


def test_configurations_are_those_that_are_named(verify, monkeypatch):
    jobs = []
    monkeypatch.setattr(cli_verify, "choose", lambda names, stack: jobs.append((names, stack.name, stack.variants)))
    verify(ROW, "ipi", "--config", "dvh", "--config", "off")
    verify(ROW, "--stack", "base-2cpu")
    assert jobs == [(("ipi",), "matrix", ("dvh", "off")), ((), "base-2cpu", ("off", "on"))]
    assert str(verify(ROW, "--config", "dhv")[1]) == "matrix: this stack has no configuration dhv"


def test_what_cannot_be_judged_is_told(verify, monkeypatch):
    bound = Bound(metric="lost", relative_to="vm", max=1, why="as in a VM")
    monkeypatch.setattr(cli_verify, "load_bounds", lambda: (bound,))
    monkeypatch.setattr(cli_verify, "check", lambda *_: None)
    said, error = verify(ROW)
    assert "not judged: cpuid at level 1 (vm) was not measured, to which a bound is relative" in said.splitlines()
    assert error is None


@pytest.mark.parametrize(("row", "failures"), [(ROW, "0"), (LOST, "2")])
def test_the_verdict_is_written_whatever_it_is(verify, tmp_path, row, failures):
    file = tmp_path / "new" / "junit.xml"
    assert f"JUnit XML: {file}" in verify(row, "--junit", file)[0]
    assert ET.parse(file).getroot().get("failures") == failures


@pytest.mark.parametrize(("row", "says"), [(ROW, "All 6 bounds hold"), (LOST, "2 of 6 bounds do not hold")])
def test_a_report_is_written_whatever_the_verdict(verify, tmp_path, row, says):
    file = tmp_path / "new" / "report.html"
    assert f"report: {file}" in verify(row, "--report", file)[0]
    assert says in file.read_text()


def test_traces_are_written_if_they_are_asked_for(verify, tmp_path, monkeypatch):
    def perform(_builder, _job, _scheduler, keep):
        if keep:
            keep(TRACED)
        return RESULT

    file = tmp_path / "new" / "traces.json.gz"
    assert verify(ROW)[1] is None
    monkeypatch.setattr(cli_verify, "perform", perform)
    done = CliRunner().invoke(cli.cli, ["verify", "--json", str(tmp_path / "result.json"), "--perfetto", str(file)])
    assert f"traces: {file}" in done.output
    names = [each["args"]["name"] for each in opened(file) if each["name"] == "process_name"]
    assert names == ["cpuid base L2"]
    assert not list(tmp_path.glob("*.gz"))
    assert CliRunner().invoke(cli.cli, ["verify", "--json", str(tmp_path / "result.json")]).exit_code == 0


def test_an_earlier_result_is_compared_and_decides_nothing(verify, tmp_path):
    write(RESULT.model_copy(update={"rows": (LOST,)}), tmp_path / "earlier.json")
    said, error = verify(ROW, "--compare", tmp_path / "earlier.json")
    assert error is None
    assert "lost 2 → 0, early 1 → 0" in said
    write(RESULT.model_copy(update={"rows": (ROW,)}), tmp_path / "earlier.json")
    said, error = verify(LOST, "--compare", tmp_path / "earlier.json")
    assert "lost 0 → 2, early 0 → 1" in said
    assert isinstance(error, VerdictError)


def test_what_is_no_earlier_result_is_an_error_before_anything_is_measured(verify, tmp_path, monkeypatch):
    (tmp_path / "earlier.json").write_text("{}")
    _, error = verify(ROW, "--compare", tmp_path / "earlier.json")
    assert isinstance(error, UserError)
    assert not (tmp_path / "result.json").exists()


def test_a_bound_that_is_for_nothing_is_an_error_before_anything_is_measured(verify, tmp_path, monkeypatch):
    monkeypatch.setattr(cli_verify, "load_bounds", lambda: [Bound(metric="lost", max=0, why="", operation="cpuidd")])
    _, error = verify(ROW)
    assert isinstance(error, UserError)
    assert "cpuidd: nothing that it is for is measured" in error.message
    assert not (tmp_path / "result.json").exists()


@pytest.fixture
def compare(tmp_path):
    def run(before, after, *words):
        for name, rows in (("before", before), ("after", after)):
            write(RESULT.model_copy(update={"rows": rows, "idle": (), "tasks": (), "workloads": ()}), tmp_path / name)
        done = CliRunner().invoke(cli.cli, ["compare", str(tmp_path / "before"), str(tmp_path / "after"), *words])
        assert done.exit_code == 0
        return done.output

    return run


def test_two_results_are_compared(compare):
    other, cheap = (ROW.model_copy(update=change) for change in ({"experiment": "ipi"}, {"l0_exits_per_op": 4}))
    said = [" ".join(line.split()) for line in compare((ROW,), (cheap, other)).splitlines()]
    assert said[0] == "the same inputs"
    assert "cpuid base 2 8 → 4 7 15,748.5 none" in said
    assert said[-2:] == [
        "new: ipi (1 row)",
        "0 rows unchanged: the same exits and entries, and instructions within 32, as RDTSC can't tell less",
    ]


def test_changes_that_another_run_may_have_are_counted(compare):
    slower = ROW.model_copy(update={"instructions_p50": 15900.0})
    said = compare((ROW,), (slower,))
    assert "\n1 of these by no more than 5%, as they may be from run to run\n" in said
    assert "of these" not in compare((ROW,), (ROW.model_copy(update={"l0_exits_per_op": 4}),))


def test_results_that_are_the_same(compare):
    assert compare((ROW,), (ROW,)).splitlines() == [
        "the same inputs",
        "1 row unchanged: the same exits and entries, and instructions within 32, as RDTSC can't tell less",
    ]
    assert compare((ROW, LOST.model_copy(update={"level": 1})), (ROW,)).splitlines()[1] == (
        "no more: cpuid at level 1 (base)"
    )


def test_a_comparison_for_programs(compare):
    found = json.loads(compare((ROW,), (LOST,), "--json"))
    assert found["changed"][0]["lost"] == {"before": 0, "after": 2}


def test_what_is_not_compared_is_said(tmp_path):
    write(RESULT, tmp_path / "result")
    said = CliRunner().invoke(cli.cli, ["compare", str(tmp_path / "result"), str(tmp_path / "result")]).output
    assert said.splitlines()[-1] == "idle Linuxes, tasks of L1 and workloads are not compared"
