# SPDX-License-Identifier: GPL-2.0-or-later
"""Bounds, and whether what was measured keeps them. Bounds are data: `bounds.toml`."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from dvhbuild.errors import UserError
from dvhbuild.result import Inputs, Result, Row

BOUNDS = Path(__file__).with_name("bounds.toml")


class Bound(BaseModel):
    """A limit on one metric of the rows that match; an absent selector matches every row. `stacks` are names of stacks.

    `metric` is a numeric field of a row; `min` and `max` are in that field's unit, or, with `relative_to`, multiples of
    what the same operation has in that configuration; `why` says where they come from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: str
    why: str
    operation: str | None = None
    config: str | None = None
    machine: str | None = None
    level: int | None = None
    stacks: frozenset[str] | None = None
    relative_to: str | None = None
    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _limits_something(self) -> Bound:
        if self.min is None and self.max is None:
            raise ValueError("neither min nor max")
        if self.metric not in Row.model_fields:
            raise ValueError(f"metric {self.metric!r}: rows have no such field")
        return self

    def matches(self, row: Row, inputs: Inputs) -> bool:
        if self.stacks is not None and inputs.stack["name"] not in self.stacks:
            return False
        wanted = (
            (self.machine, inputs.machine),
            (self.operation, row.operation),
            (self.config, row.config),
            (self.level, row.level),
        )
        return all(mine is None or mine == theirs for mine, theirs in wanted)

    def holds(self, value: float) -> bool:
        return (self.min is None or value >= self.min) and (self.max is None or value <= self.max)


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    bound: tuple[Bound, ...] = Field(min_length=1)


@dataclass(frozen=True)
class Outcome:
    """One bound on one row: the value that was measured, and whether the bound holds."""

    bound: Bound
    row: Row
    value: float
    holds: bool

    def __str__(self) -> str:
        limits = [f"at least {self.bound.min:g}"] if self.bound.min is not None else []
        limits += [f"at most {self.bound.max:g}"] if self.bound.max is not None else []
        where = f"{self.row.operation} at level {self.row.level} ({self.row.config})"
        unit = f" times {self.bound.relative_to}'s" if self.bound.relative_to else ""
        return f"{where}: {self.bound.metric} is {self.value:g}{unit}, bound {' and '.join(limits)} ({self.bound.why})"


def load_bounds(path: Path = BOUNDS) -> tuple[Bound, ...]:
    """Read the bounds; raises UserError that names file and key."""
    try:
        return _File(**tomllib.loads(path.read_text())).bound
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def judge(result: Result, bounds: Iterable[Bound]) -> tuple[Outcome, ...]:
    """Hold every row against every bound that matches it."""
    outcomes = []
    for row, bound in itertools.product(result.rows, bounds):
        if bound.matches(row, result.inputs):
            value = float(getattr(row, bound.metric))
            if bound.relative_to:
                value /= float(getattr(_counterpart(result, row, bound.relative_to), bound.metric))
            outcomes.append(Outcome(bound, row, value, bound.holds(value)))
    return tuple(outcomes)


def _counterpart(result: Result, row: Row, config: str) -> Row:
    for other in result.rows:
        if (other.operation, other.config) == (row.operation, config):
            return other
    raise UserError(f"{row.operation}: no row of config {config}, to which a bound is relative")
