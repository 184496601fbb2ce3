# SPDX-License-Identifier: GPL-2.0-or-later
"""What a result was made of, and the commands that make another one of it."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from dvhbuild.result import Result

DIRTY = "-dirty"
_OWN = re.compile(r"user's (?:file|git tree) (.+)")  # dvhbuild.bases


@dataclass(frozen=True)
class Source:
    """One base: how many patches of ours are on it, and the commit of the last one."""

    name: str
    version: str
    origin: str
    patches: int
    tip: str | None


@dataclass(frozen=True)
class Inputs:
    """What led to the rows, as a report shows it; `stack` is JSON."""

    sources: tuple[Source, ...]
    digests: tuple[tuple[str, str], ...]
    command_lines: tuple[tuple[str, str], ...]
    stack_name: str
    stack_description: str
    stack: str


def inputs(result: Result) -> Inputs:
    made_of = result.inputs
    series = {name: made_of.series.get(name, ()) for name in made_of.bases}
    return Inputs(
        sources=tuple(
            Source(name, base.version, base.origin, len(series[name]), series[name][-1] if series[name] else None)
            for name, base in made_of.bases.items()
        ),
        digests=tuple(made_of.digests.items()),
        command_lines=tuple((f"L{level}", line) for level, line in enumerate(made_of.kernel_command_lines)),
        stack_name=made_of.stack["name"],
        stack_description=made_of.stack.get("description", ""),
        stack=json.dumps(made_of.stack, indent=2, default=str),
    )


def commands(result: Result) -> tuple[str, ...]:
    """The commands, for a shell, that do it all again: the checkout, and the measurement in it."""
    return tuple(_commands(result))


def _commands(result: Result) -> Iterator[str]:
    if commit := result.made_by.commit:
        yield shlex.join(["git", "checkout", commit.removesuffix(DIRTY)])
    own = [
        f"DVHBUILD_{name.upper()}={shlex.quote(match[1])}"
        for name, base in result.inputs.bases.items()
        if (match := _OWN.fullmatch(base.origin))
    ]
    yield " ".join([*own, "python3 noxfile.py -s test-nested --", shlex.join(_words(result))])


def _words(result: Result) -> Iterator[str]:
    """What `dvhbuild verify` was told."""
    yield "--again"
    yield from dict.fromkeys(row.experiment for row in result.rows)
    if result.idle or result.tasks:
        yield "idle-linux"
    if result.workloads:
        yield "workloads"
    stack = result.inputs.stack
    yield from ("--stack", stack["name"], "--machine", result.inputs.machine)
    measured = stack.get("measured", ())
    if set(measured) != set(stack.get("configs", ())):
        for config in measured:
            yield from ("--config", config)
    if result.rows:
        yield from ("--ops", str(max(row.ops for row in result.rows)))
