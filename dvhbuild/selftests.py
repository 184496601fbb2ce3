# SPDX-License-Identifier: GPL-2.0-or-later
"""Which of the tests of a patched tree are run, for how long, what is known of them, and what came of them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dvhbuild.errors import UserError
from dvhbuild.ksft import Kind, Verdict

LIST = Path(__file__).with_name("selftests.toml")
"""The kernel's KVM selftests."""

TAIL = 12
"""Lines of a failed test's output to show."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Known(_Model):
    """What a test is known to do on this machine with the unpatched kernel `seen`: print `says` (a regular expression).

    `why` is for the reader.
    """

    says: str
    why: str
    seen: str


class Plan(_Model):
    """The tests to run (patterns), the seconds of wall-clock for one, for the `slow` ones; which fail, which skip.

    On a debug build, each has `debug` times as long. `file` is where all that is said.
    """

    file: str = LIST.name
    tests: tuple[str, ...] = Field(min_length=1)
    seconds: float = Field(gt=0)
    debug: float = Field(default=1, ge=1)
    slow: dict[str, float] = {}
    failure: dict[str, Known] = {}
    skip: dict[str, Known] = {}

    def limit(self, test: str) -> float:
        return self.slow.get(test, self.seconds)

    def for_debug(self) -> Plan:
        slow = {test: seconds * self.debug for test, seconds in self.slow.items()}
        return self.model_copy(update={"seconds": self.seconds * self.debug, "slow": slow})


@dataclass(frozen=True)
class Outcome:
    """What came of one test: `good` if that was to be expected; `tail` are its last lines, or its machine's.

    `log` has all of them.
    """

    test: str
    verdict: Verdict
    good: bool
    seconds: float
    tail: tuple[str, ...]
    log: Path


def tail(output: bytes | bytearray) -> tuple[str, ...]:
    """The last lines of `output`."""
    return tuple(line for line in output.decode(errors="replace").splitlines() if line.strip())[-TAIL:]


def load_plan(path: Path = LIST) -> Plan:
    """Read the plan; raises UserError that names file and key."""
    try:
        return Plan(**{**tomllib.loads(path.read_text()), "file": path.name})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def choose(tests: Sequence[str], wanted: Sequence[str], plan: Plan) -> tuple[str, ...]:
    """Those of `tests` that are `wanted` (names or patterns; all if none are), the slowest first.

    Raises UserError for a name without a match, in `wanted` or in the plan.
    """
    if unknown := {*plan.slow, *plan.failure, *plan.skip} - set(tests):
        raise UserError(f"{plan.file}: {', '.join(sorted(unknown))}: there is no such test (any more)")
    chosen: dict[str, None] = {}
    for pattern in wanted or ("*",):
        matching = [test for test in tests if fnmatchcase(test, pattern)]
        if not matching:
            raise UserError(f"{pattern}: no such test", remedy=f"--list tells which, of `tests` in {plan.file}")
        chosen |= dict.fromkeys(matching)
    return tuple(sorted(chosen, key=lambda test: (-plan.limit(test), test)))


def expected(test: str, verdict: Verdict, output: str, plan: Plan) -> tuple[Verdict, bool]:
    """Hold a verdict against what is known; returns the one to show, and whether it is well."""
    known = {Kind.FAILED: plan.failure, Kind.SKIPPED: plan.skip}
    for kind, table in known.items():
        if test in table and verdict.kind is not kind:
            why = f"{verdict.kind.value}, but {plan.file} has it as {'failing' if kind is Kind.FAILED else 'skipped'}"
            return Verdict(Kind.FAILED, f"{why}: {verdict.why}" if verdict.why else why), False
    entry = known.get(verdict.kind, {}).get(test)
    if entry is not None and re.search(entry.says, output):
        return (Verdict(Kind.KNOWN, entry.why) if verdict.kind is Kind.FAILED else verdict), True
    if verdict.kind is Kind.SKIPPED:
        return Verdict(Kind.FAILED, f"skipped, which {plan.file} does not expect: {verdict.why}"), False
    return verdict, verdict.kind is Kind.OK
