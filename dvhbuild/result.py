# SPDX-License-Identifier: GPL-2.0-or-later
"""A result: what was measured and all that made it, as a file (`schema/result.json`) and as a table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jsonschema  # type: ignore[import-untyped]
from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    model_validator,
)

from dvhbuild import files
from dvhbuild.errors import UserError
from dvhbuild.trace import Picture, Summary

SCHEMA = Path(__file__).parent / "schema" / "result.json"
DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class Base(_Frozen):
    """One of the sources that everything was built from."""

    version: str = Field(min_length=1)
    """The exact version, point release and packaging revision included."""
    origin: str = Field(min_length=1)
    """Where it came from: a path, a URL, a package."""


class MadeBy(_Frozen):
    """The program that measured."""

    version: str
    """dvhbuild's version."""
    commit: str | None
    """dvhbuild's commit, "-dirty" if the checkout was changed; null outside of a checkout."""
    date: AwareDatetime
    """When the measurement began."""


_STACK: dict[str, Any] = {
    "properties": {
        "name": {"type": "string"},
        "description": {"type": "string"},
        "levels": {"type": "array", "items": {"type": "object"}},
        "configs": {"type": "object"},
        "measured": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["name"],
}
"""What is read of a result's stack: stacks of other versions may have had more, or less."""


class Inputs(_Frozen):
    """All that led to the rows: the same inputs give the same counts."""

    bases: Mapping[str, Base]
    """linux, qemu, bochs, busybox."""
    series: Mapping[str, tuple[str, ...]]
    """The commit of each of our patches, by base, in order."""
    digests: Mapping[str, str]
    """kernel, qemu, bochs, initrd and so on: the digests by which the store names what was built."""
    stack: Mapping[str, Any] = Field(json_schema_extra=_STACK)
    """The stack as read from its file."""
    kernel_command_lines: tuple[str, ...]
    """By level, level 0 first."""
    machine: str
    """What emulated or ran level 0: "bochs", "tcg"."""
    host_cpu: str
    """The model of the processor under it. It decides how long a run takes, not what it counts."""
    seconds: NonNegativeFloat
    """Wall-clock time that the measurement took."""


class Sequences(_Frozen):
    """One sequence of exits and entries, and how many operations were just that."""

    tokens: tuple[str, ...]
    """ "L2:CPUID" is an exit of L2, ">L1" an entry of L1; before it "cpu1/": another vCPU, "!": not its own."""
    count: PositiveInt
    """Operations."""


@dataclass(frozen=True)
class Case:
    """What a row is of: an operation of an experiment, in a configuration, at a level."""

    experiment: str
    operation: str
    config: str
    level: int

    def __str__(self) -> str:
        return f"{self.operation} at level {self.level} ({self.config})"


class Row(_Frozen):
    """What one operation costs in one configuration at one level."""

    experiment: str = Field(min_length=1)
    """The module of `dvhbuild.experiments` that measured it."""
    operation: str = Field(min_length=1)
    """The probe's name of the operation."""
    config: str = Field(min_length=1)
    """"base": what DVH does not change; "off", "on": a nested guest without and with it; "vm": a plain guest."""
    level: int = Field(ge=1, le=3)
    """The level that performs the operation; 1 is a guest of L0."""
    ops: NonNegativeInt
    """Operations performed and counted."""
    lost: NonNegativeInt
    """Interrupts, or other effects, that did not come."""
    early: NonNegativeInt
    """Timer interrupts before their deadline."""
    wrong: NonNegativeInt
    """Interrupts twice, on the wrong CPU or with the wrong vector, and wrong answers."""
    l0_exits_per_op: NonNegativeFloat
    """Exits to L0 that belong to an operation, of all vCPUs: the median."""
    l0_exits_mean: NonNegativeFloat
    """The same: the mean."""
    l0_exits_max: NonNegativeFloat
    """The same: the largest of all operations."""
    l1_entries_per_op: NonNegativeFloat
    """Entries of the guest hypervisor (L1) that belong to an operation of level 2: the median. At level 1 it is 0: L1
    itself performs the operation there, and its resumption after its exit is not counted."""
    l1_entries_mean: NonNegativeFloat
    """The same: the mean."""
    l1_entries_max: NonNegativeFloat
    """The same: the largest of all operations."""
    instructions_p50: NonNegativeFloat
    """Instructions per operation, by the probe's RDTSC, tracing off: the median. (The emulated TSC counts them.)"""
    instructions_p90: NonNegativeFloat
    """The same: what 90 % of the operations do not exceed."""
    instructions_p99: NonNegativeFloat
    """The same: what 99 % do not exceed."""
    instructions_max: NonNegativeFloat
    """The same: the largest."""
    instructions_mean: NonNegativeFloat
    """The same: the mean."""
    distribution: tuple[tuple[NonNegativeInt, PositiveInt], ...] = ()
    """The same: the most frequent values (instructions, operations), the most frequent first. A Linux tells none."""
    foreign: Mapping[str, PositiveInt]
    """Exits between the markers that are not the operation's own (L1's tick, say), of all operations, by their names:
    the reason, "cpuN/" before it on another vCPU."""
    sequences: tuple[Sequences, ...]
    """The most frequent sequences, the most frequent first."""
    picture: Picture | None = None
    """One of the operations that were the first of these."""
    counters: Mapping[str, int]
    """What L0's KVM counted in the whole window, of all vCPUs, zeroes left out: these agree with the trace."""
    l1_counters: Mapping[str, int]
    """What L1's KVM counted of L2 in that window, zeroes left out; empty at level 1."""

    @property
    def case(self) -> Case:
        return Case(self.experiment, self.operation, self.config, self.level)

    @model_validator(mode="after")
    def _ordered(self) -> Row:
        for low, high in (
            ("instructions_p50", "instructions_p90"),
            ("instructions_p90", "instructions_p99"),
            ("instructions_p99", "instructions_max"),
            ("l0_exits_per_op", "l0_exits_max"),
            ("l1_entries_per_op", "l1_entries_max"),
        ):
            if getattr(self, low) > getattr(self, high):
                raise ValueError(f"{low} is above {high}")
        return self


class Idle(_Frozen):
    """Linuxes that have nothing to do, left to themselves for a while."""

    config: str = Field(min_length=1)
    """As a row's."""
    level: int = Field(ge=1, le=2)
    """The highest that runs."""
    seconds: PositiveInt
    exits: Mapping[str, PositiveInt]
    """Exits to L0, of all vCPUs, by level and reason ("L1:HLT"), in all that time."""
    l1_entries: NonNegativeInt
    """Entries of L1."""
    l1_wakeups: NonNegativeInt
    """How often L1 got going on a vCPU that was halted, or L2's."""
    instructions: Mapping[str, NonNegativeInt]
    """By level ("L0"), in all that time. L0's leave out its idle task's own: a tenth, where that is woken up often."""


class Task(_Frozen):
    """What a task of L1 gets on a CPU where L2 runs, too."""

    operation: str = Field(min_length=1)
    """Of guest/load: to wake up from a nap, or by a pipe from L1's other CPU; to spin; to do the same as L2 does."""
    config: str = Field(min_length=1)
    """As a row's."""
    ops: NonNegativeInt
    instructions_p50: NonNegativeFloat
    """From what wakes the task up to its running (of "linux-spin": nothing)."""
    instructions_max: NonNegativeFloat
    """The same: the largest."""
    instructions_sum: NonNegativeInt
    """Of "linux-lock" and "linux-mix": what it took L1 and L2, whichever took longer."""


class Workload(_Frozen):
    """What programs did in a Linux, or with one and their clients at L0: each transaction was right."""

    workload: str = Field(min_length=1)
    """Of `dvhbuild.work`."""
    config: str = Field(min_length=1)
    """As a row's."""
    level: int = Field(ge=1, le=2)
    """The one that performs it, or serves."""
    transactions: PositiveInt
    """Performed and checked; one that fails ends the run. The figures are those of all of them together."""
    exits: Mapping[str, PositiveInt]
    """Exits to L0, of all vCPUs, by level and reason ("L1:HLT")."""
    l1_entries: NonNegativeInt
    """Entries of the guest hypervisor (L1); 0 at level 1, where it is L1 that performs."""
    instructions: PositiveInt
    """Ticks of the TSC, tracing off, from the first transaction to the end of the last one: what a CPU executes, if it
    never sleeps."""


class Result(_Frozen):
    """One run's rows and all that made them."""

    version: Literal[1] = 1
    """The version of this format."""
    made_by: MadeBy
    inputs: Inputs
    measured: tuple[AwareDatetime, ...] = ()
    """When each of its parts was measured, on a machine of its own: before `made_by.date` if it was known already."""
    rows: tuple[Row, ...]
    idle: tuple[Idle, ...] = ()
    tasks: tuple[Task, ...] = ()
    workloads: tuple[Workload, ...] = ()


def traced(
    summary: Summary, picture: Picture, counted: Mapping[str, int], counted_by_l1: Mapping[str, int]
) -> dict[str, Any]:
    """The fields of a Row that come from L0's trace, and from L0's and L1's counters (`Difference.vm`); the others are
    the probe's.
    """
    return {
        "l0_exits_per_op": summary.l0_exits.median,
        "l0_exits_mean": summary.l0_exits.mean,
        "l0_exits_max": summary.l0_exits.max,
        "l1_entries_per_op": summary.l1_entries.median,
        "l1_entries_mean": summary.l1_entries.mean,
        "l1_entries_max": summary.l1_entries.max,
        "foreign": dict(summary.foreign),
        "sequences": tuple(Sequences(tokens=tokens, count=count) for tokens, count in summary.sequences),
        "picture": picture,
        "counters": _nonzero(counted),
        "l1_counters": _nonzero(counted_by_l1),
    }


def _nonzero(counted: Mapping[str, int]) -> dict[str, int]:
    return {name: value for name, value in sorted(counted.items()) if value}


def json_schema() -> dict[str, Any]:
    """The schema of a result's file; `schema/result.json` is this, written out for readers of other languages."""
    return {"$schema": DIALECT, "$id": "result.json", **Result.model_json_schema(mode="serialization")}


def _check(document: Any, where: Path) -> None:
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))
    error = jsonschema.exceptions.best_match(validator.iter_errors(document))
    if error:
        raise UserError(f"{where}: not a result: {error.json_path}: {error.message}")


def write(result: Result, path: Path) -> None:
    """Write `result` to `path`, all of it or nothing.

    Raises UserError if it does not fit the schema, HostError if the disk fails.
    """
    text = result.model_dump_json(indent=2) + "\n"
    _check(json.loads(text), path)
    files.replace(path, text)


def read(path: Path) -> Result:
    """Read a result; raises UserError, with the place in the file, if it is not one."""
    try:
        text = path.read_text(encoding="utf-8")
        _check(json.loads(text), path)
        return Result.model_validate_json(text)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: not JSON: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{path}: not a result: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
