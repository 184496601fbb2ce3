# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line's part for measurements: a result, and the verdict on it."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from dvhbuild import result as results
from dvhbuild.bench import Job, perform
from dvhbuild.build import Builder
from dvhbuild.errors import VerdictError
from dvhbuild.experiments import choose
from dvhbuild.options import fresh_option, machine_option, pass_settings, stack_option
from dvhbuild.settings import Settings
from dvhbuild.stack import load_stack
from dvhbuild.tables import tables
from dvhbuild.verdict import judge, load_bounds

TABLE_WIDTH = 140
"""Characters that the table needs, whatever the terminal has."""


@click.command()
@click.argument("experiments", nargs=-1)
@click.option("--json", "file", type=click.Path(path_type=Path, dir_okay=False), help="Write the result to this file.")
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
    result = perform(Builder(settings), job)
    file = file or settings.cache / "results" / f"{result.made_by.date:%Y%m%d-%H%M%S}.json"
    results.write(result, file)
    console = Console()
    console.width = max(console.width, TABLE_WIDTH)
    console.print(f"{result.inputs.machine}, {result.made_by.date:%Y-%m-%d %H:%M} UTC")
    for table in tables(result):
        console.print(table)
    click.echo(f"result: {file}")
    broken = [outcome for outcome in judge(result, bounds) if not outcome.holds]
    for outcome in broken:
        click.echo(f"FAILED {outcome}")
    if broken:
        raise VerdictError(f"{len(broken)} bounds do not hold, the first: {broken[0]}")
