# SPDX-License-Identifier: GPL-2.0-or-later
"""`verify`: what it says of a result, and with which exit status it ends."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner
from test_result import RESULT, ROW

from dvhbuild import cli, cli_verify
from dvhbuild.errors import UserError, VerdictError
from dvhbuild.result import read
from dvhbuild.verdict import Bound

LOST = ROW.model_copy(update={"lost": 2, "early": 1})


@pytest.fixture
def verify(monkeypatch, tmp_path):
    """Run `verify` with a result that has been measured already; returns what it said, and its error."""
    monkeypatch.setenv("DVHBUILD_CACHE", str(tmp_path / "cache"))

    def run(row, *words):
        monkeypatch.setattr(cli_verify, "perform", lambda _builder, _job: RESULT.model_copy(update={"rows": (row,)}))
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


@pytest.mark.parametrize(("row", "failures"), [(ROW, "0"), (LOST, "2")])
def test_the_verdict_is_written_whatever_it_is(verify, tmp_path, row, failures):
    file = tmp_path / "new" / "junit.xml"
    assert f"JUnit XML: {file}" in verify(row, "--junit", file)[0]
    assert ET.parse(file).getroot().get("failures") == failures


def test_a_bound_that_is_for_nothing_is_an_error_before_anything_is_measured(verify, tmp_path, monkeypatch):
    monkeypatch.setattr(cli_verify, "load_bounds", lambda: [Bound(metric="lost", max=0, why="", operation="cpuidd")])
    _, error = verify(ROW)
    assert isinstance(error, UserError)
    assert "cpuidd: nothing that it is for is measured" in error.message
    assert not (tmp_path / "result.json").exists()
