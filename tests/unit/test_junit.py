# SPDX-License-Identifier: GPL-2.0-or-later
"""The verdict as JUnit XML: what those who read it expect, and all that made the result."""

from __future__ import annotations

from collections import Counter
from xml.etree import ElementTree as ET

import pytest
from test_result import RESULT, ROW

from dvhbuild.bench import full_runs
from dvhbuild.junit import junit
from dvhbuild.verdict import Bound, judge, load_bounds

VM = ROW.model_copy(update={"config": "vm", "level": 1, "instructions_p50": 1000.0})
ON = ROW.model_copy(update={"config": "on", "instructions_p50": 1500.0, "lost": 2})
BOUNDS = (
    Bound(metric="lost", max=0, why='<all> & "more"'),
    Bound(metric="instructions_p50", max=9999, why="cheap"),
    Bound(metric="instructions_p50", config="on", relative_to="vm", max=1.5, why="as good"),
)

SCHEMA = {
    "testsuites": ({"name", "time", "tests", "failures", "errors"}, set(), ["testsuite"]),
    "testsuite": (
        {"name", "tests", "failures", "errors"},
        {"time", "skipped", "timestamp"},
        ["properties", "testcase", "system-out", "system-err"],
    ),
    "properties": (set(), set(), ["property"]),
    "property": ({"name", "value"}, set(), []),
    "testcase": ({"name", "classname"}, {"time"}, ["skipped", "error", "failure", "system-out", "system-err"]),
    "failure": (set(), {"message", "type"}, []),
    "system-out": (set(), set(), []),
}
"""Of Jenkins' JUnit schema what we write: element -> attributes that it must have, may have; what may be in it."""


def fits(element):
    must, may, inside = SCHEMA[element.tag]
    assert must <= element.attrib.keys() <= must | may, element.attrib
    order = [inside.index(child.tag) for child in element]
    assert order == sorted(order)
    for child in element:
        fits(child)


@pytest.fixture
def document():
    result = RESULT.model_copy(update={"rows": (VM, ON)})
    return ET.fromstring(junit(result, judge(result, BOUNDS)))


def test_it_has_the_usual_structure(document):
    assert document.tag == "testsuites"
    fits(document)


def test_a_bound_on_a_row_is_a_test(document):
    assert [(case.get("classname"), case.get("name")) for case in document.iter("testcase")] == [
        ("cpuid", "cpuid at level 1 (vm): lost"),
        ("cpuid", "cpuid at level 1 (vm): instructions_p50"),
        ("cpuid", "cpuid at level 2 (on): lost"),
        ("cpuid", "cpuid at level 2 (on): instructions_p50"),
        ("cpuid", "cpuid at level 2 (on): instructions_p50 / vm"),
    ]
    assert document.findall("testsuite/testcase/system-out")[-1].text == (
        "cpuid at level 2 (on): instructions_p50 is 1.5 times vm's, bound at most 1.5"
    )


def test_a_bound_that_does_not_hold_is_a_failure_and_is_counted(document):
    failed = [case for case in document.iter("testcase") if case.find("failure") is not None]
    assert [case.get("name") for case in failed] == ["cpuid at level 2 (on): lost"]
    assert failed[0].find("failure").get("message") == (
        'cpuid at level 2 (on): lost is 2, bound at most 0 (<all> & "more")'
    )
    for element in (document, document.find("testsuite")):
        assert {key: element.get(key) for key in ("tests", "failures", "errors")} == {
            "tests": "5",
            "failures": "1",
            "errors": "0",
        }


def test_only_the_whole_measurement_has_a_time(document):
    timed = [(element.tag, element.get("time")) for element in document.iter() if element.get("time")]
    assert timed == [("testsuites", "12.5"), ("testsuite", "12.5")]
    assert document.find("testsuite").get("timestamp") == "2025-11-24T19:00:00"


def test_the_inputs_are_properties(document):
    properties = {each.get("name"): each.get("value") for each in document.iter("property")}
    assert document.find("testsuite").get("name") == "base-2cpu"
    assert properties == {
        "dvhbuild": "0.1.0, commit ffb88a8",
        "base of linux": "6.12.117-1 from linux-source-6.12",
        "series of linux": "0 patches",
        "digest of kernel": "abc",
        "kernel command line of L0": "quiet",
        "kernel command line of L1": "quiet",
        "machine": "bochs",
        "host CPU": "Some CPU",
    }


def test_a_series_is_named_by_its_last_commit():
    inputs = RESULT.inputs.model_copy(update={"series": {"linux": ("a" * 40, "b" * 40)}})
    document = ET.fromstring(junit(RESULT.model_copy(update={"inputs": inputs}), ()))
    assert f"2 patches, the last is {'b' * 40}" in {each.get("value") for each in document.iter("property")}


@pytest.mark.parametrize("stack", full_runs())
def test_no_two_tests_of_a_full_run_have_the_same_name(stack):
    rows = [ROW.model_copy(update=vars(case)) for case in full_runs()[stack]]
    inputs = RESULT.inputs.model_copy(update={"stack": {"name": stack}})
    result = RESULT.model_copy(update={"rows": tuple(rows), "inputs": inputs})
    document = ET.fromstring(junit(result, judge(result, load_bounds())))
    names = Counter((case.get("classname"), case.get("name")) for case in document.iter("testcase"))
    assert names.total() >= 4 * len(rows)
    assert not [name for name, count in names.items() if count > 1]
