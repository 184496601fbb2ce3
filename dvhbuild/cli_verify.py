# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line's part for measurements: a result, and the verdict on it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import click
from rich.console import Console

from dvhbuild import files
from dvhbuild import result as results
from dvhbuild.bench import Job, full_runs, perform
from dvhbuild.build import Builder
from dvhbuild.errors import VerdictError
from dvhbuild.experiments import choose
from dvhbuild.junit import junit
from dvhbuild.options import fresh_option, machine_option, pass_settings, stack_option
from dvhbuild.result import Result
from dvhbuild.settings import Settings
from dvhbuild.stack import load_stack
from dvhbuild.tables import tables, verdict_table
from dvhbuild.verdict import Outcome, check, judge, load_bounds, summary

TABLE_WIDTH = 200
"""Characters that the tables need, whatever the terminal has."""

new_file = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("experiments", nargs=-1)
@click.option("--json", "file", type=new_file, help="Write the result to this file.")
@click.option("--junit", "junit_file", type=new_file, help="Write the verdict to this file, as JUnit XML.")
@click.option("--bounds", "show_bounds", is_flag=True, help="Show each bound, what was measured, and the margin.")
@click.option(
    "--ops",
    type=click.IntRange(1, 20000),
    default=1000,
    show_default=True,
    help="Operations of each kind; fewer than 1000 break a bound.",
)
@stack_option
@machine_option
@fresh_option
@pass_settings
def verify(
    settings: Settings,
    experiments: tuple[str, ...],
    file: Path | None,
    junit_file: Path | None,
    show_bounds: bool,
    ops: int,
    stack_name: str,
    machine: str | None,
    fresh: bool,
) -> None:
    """Measure what operations cost at each level, and hold it against the bounds.

    EXPERIMENTS: exits, timer, idle, ipi, port, doorbell, device, traffic, idle-linux (those that the stack is for).
    Exit status 1 if a bound does not hold.
    """
    stack = load_stack(stack_name, machine=machine)
    job = Job(stack, choose(experiments, stack), ops, fresh)
    bounds = load_bounds()
    check(bounds, full_runs())
    result = perform(Builder(settings), job)
    file = file or settings.cache / "results" / f"{result.made_by.date:%Y%m%d-%H%M%S}.json"
    results.write(result, file)
    console = _console()
    _show_result(result, console)
    click.echo(f"result: {file}")
    outcomes = judge(result, bounds)
    if junit_file:
        files.replace(junit_file, junit(result, outcomes))
        click.echo(f"JUnit XML: {junit_file}")
    if show_bounds:
        console.print(verdict_table(outcomes))
    _conclude(outcomes)


def _console() -> Console:
    console = Console()
    console.width = max(console.width, TABLE_WIDTH)
    return console


def _show_result(result: Result, console: Console) -> None:
    console.print(f"{result.inputs.machine}, {result.made_by.date:%Y-%m-%d %H:%M} UTC")
    for table in tables(result):
        console.print(table)


def _conclude(outcomes: Collection[Outcome]) -> None:
    """Say how many bounds hold and which do not; raises VerdictError if one does not."""
    click.echo(summary(outcomes))
    broken = [outcome for outcome in outcomes if not outcome.holds]
    for outcome in broken:
        click.echo(f"FAILED {outcome}")
    if broken:
        bounds = len({outcome.bound for outcome in broken})
        many = "1 bound does not hold" if bounds == 1 else f"{bounds} bounds do not hold, the first"
        raise VerdictError(f"{many}: {broken[0]}")
