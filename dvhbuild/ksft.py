# SPDX-License-Identifier: GPL-2.0-or-later
"""What a kernel selftest says of itself: its exit status, and TAP if it prints that (dev-tools/ktap.rst)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

KSFT_SKIP = 4
"""The exit status that means that a test does not apply here (tools/testing/selftests/kselftest.h)."""

_RESULT = re.compile(r"^(not )?ok\b *(\d+)?(?: *(?:- )?([^#]*?))? *(?:# *(\w+)\b *(.*))?$")
_PLAN = re.compile(r"^1\.\.(\d+)(?: *# *SKIP\b *(.*))?$")
_EXPECTED = ("TODO", "XFAIL")
"""Directives by which a test says that a `not ok` was to be expected."""
_SIGNALS = 128


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

    The two must agree: a status of 0 makes up neither for a `not ok` nor for results that were planned and are missing.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    results = [found for line in lines if (found := _RESULT.match(line))]
    plans = [found for line in lines if (found := _PLAN.match(line))]
    skips = [found[5] or found[3] for found in results if (found[4] or "").upper() == "SKIP"]
    whole = [found[2] for found in plans if found[2]]
    if status == KSFT_SKIP:
        said = whole or skips or lines[-1:] or ["no reason given"]
        return Verdict(Kind.SKIPPED, said[-1].removeprefix("- ").strip())
    if status > _SIGNALS and status != 254:
        return Verdict(Kind.FAILED, f"killed by signal {status - _SIGNALS}")
    bad = [found for found in results if found[1] and (found[4] or "").upper() not in _EXPECTED]
    if bad:
        first = f"{bad[0][2] or ''} {bad[0][3] or ''}".strip()
        return Verdict(Kind.FAILED, f"{len(bad)} of {len(results)} not ok, the first: {first}")
    if status:
        return Verdict(Kind.FAILED, f"exit status {status}{_assertion(lines)}")
    planned = int(plans[-1][1]) if plans else len(results)
    if planned != len(results):
        return Verdict(Kind.FAILED, f"{planned} results were planned, there are {len(results)}")
    return Verdict(Kind.OK, f"{len(skips)} of {len(results)} skipped, the last: {skips[-1]}" if skips else "")


def _assertion(lines: list[str]) -> str:
    """What KVM's TEST_ASSERT says: the place, and the message if there is one."""
    for number, line in enumerate(lines):
        if "Test Assertion Failure" in line and number + 1 < len(lines):
            return f": {lines[number + 1]}"
    return ""
