# SPDX-License-Identifier: GPL-2.0-or-later
"""A verdict as JUnit XML, for what runs `dvhbuild verify` by itself and shows tests: a test is a bound on a row."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from datetime import UTC

from junitparser import Failure
from junitparser.xunit2 import JUnitXml, TestCase, TestSuite

from dvhbuild.figures import count
from dvhbuild.result import Inputs, Result
from dvhbuild.verdict import Outcome


def junit(result: Result, outcomes: Iterable[Outcome]) -> str:
    """The outcomes as XML, with all that made the result as properties of the suite, which is named after the stack.

    Rows have no times of their own: only the suite has one, that of the whole measurement.
    """
    suite = TestSuite(result.inputs.stack["name"])
    suite.timestamp = result.made_by.date.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")  # the schema has no zones
    suite.add_property("dvhbuild", f"{result.made_by.version}, commit {result.made_by.commit or 'unknown'}")
    for name, value in _properties(result.inputs):
        suite.add_property(name, value)
    suite.add_testcases([_testcase(outcome) for outcome in outcomes])
    document = JUnitXml("dvhbuild verify")
    document.add_testsuite(suite)
    document.update_statistics()
    document.time = suite.time = result.inputs.seconds
    written = io.BytesIO()
    document.write(written, pretty=True)
    return written.getvalue().decode()


def _properties(inputs: Inputs) -> Iterator[tuple[str, str]]:
    for name, base in inputs.bases.items():
        yield f"base of {name}", f"{base.version} from {base.origin}"
    for name, commits in inputs.series.items():
        yield f"series of {name}", ", the last is ".join((count(len(commits), "patch", "patches"), *commits[-1:]))
    for name, digest in inputs.digests.items():
        yield f"digest of {name}", digest
    for level, line in enumerate(inputs.kernel_command_lines):
        yield f"kernel command line of L{level}", line
    yield "machine", inputs.machine
    yield "host CPU", inputs.host_cpu


def _testcase(outcome: Outcome) -> TestCase:
    case = TestCase(f"{outcome.row.case}: {outcome.bound.figure}", outcome.row.experiment)
    if not outcome.holds:
        case.result = [Failure(str(outcome), "bound")]
    case.system_out = outcome.told
    return case
