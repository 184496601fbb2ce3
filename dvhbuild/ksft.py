# SPDX-License-Identifier: GPL-2.0-or-later
"""What a test says of itself: its exit status, and TAP if it prints that (Linux: dev-tools/ktap.rst; QEMU: GLib)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

KSFT_SKIP = 4
"""The exit status that means that a test does not apply here (tools/testing/selftests/kselftest.h)."""

_RESULT = re.compile(
    r"^(?P<bad>not )?ok (?P<number>\d+)\b(?: - | )?(?P<name>[^#]*?) *(?:# *(?P<tag>\w+) *(?P<why>.*))?$"
)
_PLAN = re.compile(r"^1\.\.(?P<count>\d+)(?: *# *SKIP *(?P<why>.*))?$")
_EXPECTED = ("TODO", "XFAIL")
"""Directives by which a test says that a `not ok` was to be expected."""
_BAILED = "Bail out!"
"""What begins the last line of a test that cannot go on; GLib's give the assertion there."""
_SIGNALS = range(129, 193)
"""The shell's statuses for what a signal has killed."""


class Kind(StrEnum):
    """How a test ended; the value is what a line of the report begins with. KNOWN is a failure that is expected."""

    OK = "ok"
    SKIPPED = "skipped"
    KNOWN = "known"
    FAILED = "FAILED"


@dataclass(frozen=True)
class Verdict:
    """How a test ended, and why, in a line (empty for most that are ok)."""

    kind: Kind
    why: str = ""


def judge(status: int, text: str) -> Verdict:
    """Judge a test by its exit `status` (the shell's: 128 + signal) and its output.

    The two must agree: a good status makes up neither for a `not ok` nor for results that were planned and are missing.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    results = [found for line in lines if (found := _RESULT.match(line))]
    plans = [found for line in lines if (found := _PLAN.match(line))]
    bad = [found for found in results if found["bad"] and (found["tag"] or "").upper() not in _EXPECTED]
    if bad:
        name = f"{bad[0]['number']} {bad[0]['name'] or bad[0]['why'] or ''}".strip()
        return Verdict(Kind.FAILED, f"{len(bad)} of {len(results)} not ok, the first: {name}")
    skips = [found["why"] or found["name"] for found in results if (found["tag"] or "").upper() == "SKIP"]
    whole = [found["why"] for found in plans if found["why"] is not None]
    if status == KSFT_SKIP or (status == 0 and whole):
        reasons = whole or skips or lines[-1:] or ["no reason given"]
        return Verdict(Kind.SKIPPED, reasons[-1].removeprefix("- "))
    if status or any(line.startswith(_BAILED) for line in lines):
        return Verdict(Kind.FAILED, _end(status, lines))
    planned = int(plans[-1]["count"]) if plans else len(results)
    if planned != len(results):
        return Verdict(Kind.FAILED, f"{planned} results were planned, there are {len(results)}")
    return Verdict(Kind.OK, f"{len(skips)} of {len(results)} skipped, the last: {skips[-1]}" if skips else "")


def _end(status: int, lines: list[str]) -> str:
    """How a test ended that did not come to its own end."""
    bailed = [line.removeprefix(_BAILED).strip() for line in lines if line.startswith(_BAILED)]
    how = f"killed by signal {status - 128}" if status in _SIGNALS else f"exit status {status}{_assertion(lines)}"
    return next(filter(None, bailed), how)


def _assertion(lines: list[str]) -> str:
    """What KVM's TEST_ASSERT says: place and condition."""
    for number, line in enumerate(lines):
        if "Test Assertion Failure" in line and number + 1 < len(lines):
            return f": {lines[number + 1]}"
    return ""
