# SPDX-License-Identifier: GPL-2.0-or-later
"""Bounds, and whether what was measured keeps them, and by how much. Bounds are data: `bounds.toml`."""

from __future__ import annotations

import itertools
import math
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from dvhbuild.errors import UserError
from dvhbuild.figures import count, number
from dvhbuild.result import Case, Result, Row
from dvhbuild.stack import Machine

BOUNDS = Path(__file__).with_name("bounds.toml")
METRICS = frozenset(name for name, field in Row.model_fields.items() if field.annotation in (int, float))


def _several(value: object) -> object:
    return [value] if isinstance(value, str) else value


Names = Annotated[frozenset[str], Field(min_length=1)]


class Bound(BaseModel):
    """A limit on one metric of the rows that match; an absent selector matches every row.

    `operation`, `config`, `stacks` are one or several, by name. `metric` is a numeric field of a row; `min` and `max`
    are in that field's unit, or, with `relative_to`, multiples of what the same operation has in that configuration;
    `why` says where they come from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: str
    why: str
    operation: Annotated[Names | None, BeforeValidator(_several)] = None
    config: Annotated[Names | None, BeforeValidator(_several)] = None
    machine: Machine | None = None
    level: int | None = None
    stacks: Names | None = None
    relative_to: str | None = None
    min: float | None = Field(None, gt=0, allow_inf_nan=False)
    max: float | None = Field(None, ge=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _limits_something(self) -> Bound:
        if self.min is None and self.max is None:
            raise ValueError("neither min nor max")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("min is above max")
        if self.metric not in METRICS:
            raise ValueError(f"metric {self.metric!r}: rows have no such figure")
        return self

    @property
    def exact(self) -> bool:
        """One value will do."""
        return self.max in (self.min, 0)

    @property
    def graded(self) -> bool:
        """Whether a margin tells how close it was: not if it is exact, or "at least 1", which is to say any; and `ops`
        are those that were asked for.
        """
        return not self.exact and self.min != 1 and self.metric != "ops"

    @property
    def figure(self) -> str:
        """What it limits: "instructions_p50", "instructions_p50 / vm"."""
        return f"{self.metric} / {self.relative_to}" if self.relative_to else self.metric

    @property
    def limits(self) -> str:
        """Its limits for people: "at least 961 and at most 1,301"."""
        if self.max is not None and self.min == self.max:
            return f"exactly {number(self.max)}"
        parts = [f"at least {number(self.min)}"] if self.min is not None else []
        parts += [f"at most {number(self.max)}"] if self.max is not None else []
        return " and ".join(parts)

    def matches(self, case: Case, stack: str) -> bool:
        """Whether it is for such a row of that stack, on whatever machine."""
        among = ((self.stacks, stack), (self.operation, case.operation), (self.config, case.config))
        return all(mine is None or theirs in mine for mine, theirs in among) and self.level in (None, case.level)

    def margin(self, value: float) -> float:
        """How far `value` is from the nearest limit, as a share of that: negative if it is beyond."""
        margins = [(value - self.min) / self.min] if self.min is not None else []
        if self.max:
            margins.append((self.max - value) / self.max)
        elif self.max == 0:
            margins.append(-math.inf if value > 0 else 0.0)
        return min(margins)


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    bound: tuple[Bound, ...] = Field(min_length=1)


@dataclass(frozen=True)
class Outcome:
    """One bound on one row: the value that was measured, and how far it is from the limit, as `Bound.margin`."""

    bound: Bound
    row: Row
    value: float
    margin: float

    @property
    def holds(self) -> bool:
        return self.margin >= 0

    @property
    def told(self) -> str:
        """What was measured and what the bound is, for people."""
        unit = f" times {self.bound.relative_to}'s" if self.bound.relative_to else ""
        return f"{self.row.case}: {self.bound.metric} is {number(self.value)}{unit}, bound {self.bound.limits}"

    def __str__(self) -> str:
        return f"{self.told} ({self.bound.why})"


def load_bounds(path: Path = BOUNDS) -> tuple[Bound, ...]:
    """Read the bounds; raises UserError that names file and key."""
    try:
        return _File(**tomllib.loads(path.read_text(encoding="utf-8"))).bound
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def check(bounds: Iterable[Bound], runs: Mapping[str, Collection[Case]]) -> None:
    """See that each bound is for something that is measured, and that so is what it is relative to.

    `runs` is what a full run of each stack measures, by the stack's name. There has to be a row of each operation,
    configuration and stack that a bound names: with an operation's old name, say, it would hold whatever happens.
    Raises UserError.
    """
    for index, bound in enumerate(bounds):
        for part in _parts(bound):
            where = f"{BOUNDS}: bound.{index}: {bound.figure} of {_listed(part.operation) or 'every operation'}"
            matched = [(case, cases) for stack, cases in runs.items() for case in cases if part.matches(case, stack)]
            if not matched:
                within = f" in {_listed(part.config)}" if part.config else ""
                within += f" on the stack {_listed(part.stacks)}" if part.stacks else ""
                raise UserError(f"{where}: nothing that it is for is measured{within}", remedy="mend what it selects")
            config = bound.relative_to
            alone = [case for case, cases in matched if config and _in(config, case) not in cases]
            if alone:
                raise UserError(f"{where}: {alone[0]} is not measured in {config}, to which it is relative")


def _parts(bound: Bound) -> Iterator[Bound]:
    """Bounds for each of the operations, configurations and stacks that `bound` names, alone."""
    for operation in _each(bound.operation):
        for field in ("config", "stacks"):
            for alone in _each(getattr(bound, field)):
                yield bound.model_copy(update={"operation": operation, field: alone})


def _each(names: frozenset[str] | None) -> list[frozenset[str] | None]:
    return [frozenset([name]) for name in sorted(names)] if names else [None]


def _listed(names: frozenset[str] | None) -> str:
    return ", ".join(sorted(names or ()))


def judge(result: Result, bounds: Iterable[Bound]) -> tuple[Outcome, ...]:
    """Hold every row against every bound that matches it, but those that are `unjudged`."""
    rows = {row.case: row for row in result.rows}
    outcomes = []
    for row, bound in _matching(result, bounds):
        value = _value(row, bound, rows)
        if value is not None:
            outcomes.append(Outcome(bound, row, value, bound.margin(value)))
    return tuple(outcomes)


def unjudged(result: Result, bounds: Iterable[Bound]) -> tuple[str, ...]:
    """For each row to which a bound is relative and which is not there, a sentence.

    What `bench` measures of all of a stack's configurations has them, if the bounds have passed `check`.
    """
    rows = {row.case: row for row in result.rows}
    needs = [_in(bound.relative_to, row.case) for row, bound in _matching(result, bounds) if bound.relative_to]
    missing = [case for case in dict.fromkeys(needs) if case not in rows]
    return tuple(f"{case} was not measured, to which a bound is relative" for case in missing)


def _matching(result: Result, bounds: Iterable[Bound]) -> Iterator[tuple[Row, Bound]]:
    stack = result.inputs.stack["name"]
    for row, bound in itertools.product(result.rows, bounds):
        if bound.machine in (None, result.inputs.machine) and bound.matches(row.case, stack):
            yield row, bound


def _value(row: Row, bound: Bound, rows: Mapping[Case, Row]) -> float | None:
    """What `bound` limits; None if that is relative to what is not there."""
    value = float(getattr(row, bound.metric))
    if not bound.relative_to:
        return value
    counterpart = rows.get(_in(bound.relative_to, row.case))
    if not counterpart:
        return None
    other = float(getattr(counterpart, bound.metric))
    if other:
        return value / other
    return math.inf if value else 1.0


def _in(config: str, case: Case) -> Case:
    """The same operation in `config`, at the same level; a plain guest ("vm") is at level 1."""
    return Case(case.experiment, case.operation, config, 1 if config == "vm" else case.level)


def ranked(outcomes: Iterable[Outcome]) -> tuple[Outcome, ...]:
    """The broken ones first, then those whose margin tells something, then the others; the smallest margin first."""

    def rank(outcome: Outcome) -> tuple[bool, float]:
        return outcome.holds and not outcome.bound.graded, outcome.margin

    return tuple(sorted(outcomes, key=rank))


def summary(outcomes: Collection[Outcome]) -> str:
    """One line for people: how many bounds hold, and which is the tightest."""
    if not outcomes:
        return "no bound is for what was measured"
    bounds = {outcome.bound for outcome in outcomes}
    broken = {outcome.bound for outcome in outcomes if not outcome.holds}
    rows = count(len({outcome.row.case for outcome in outcomes}), "row")
    if broken:
        return f"{len(bounds) - len(broken)} of {count(len(bounds), 'bound')} hold on {rows}"
    first = ranked(outcomes)[0]
    tightest = f"; the tightest: {first.told}, {first.margin:.0%} to spare" if first.bound.graded else ""
    hold = "bound holds" if len(bounds) == 1 else "bounds hold"
    return f"{number(len(bounds))} {hold} on {rows}{tightest}"
