# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line's part for measurements: a result, the verdict on it, and what is different from an earlier one."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

import click
from rich.console import Console

from dvhbuild import cli_report, files, perfetto
from dvhbuild import compare as comparing
from dvhbuild import result as results
from dvhbuild.bench import Job, full_runs, perform
from dvhbuild.build import Builder
from dvhbuild.compare import Comparison
from dvhbuild.errors import VerdictError
from dvhbuild.experiments import choose
from dvhbuild.figures import count
from dvhbuild.junit import junit
from dvhbuild.options import (
    again_option,
    as_json,
    config_option,
    fresh_option,
    machine_option,
    new_file,
    old_file,
    pass_settings,
    print_json,
    scheduler_option,
    stack_option,
)
from dvhbuild.result import Result, Row
from dvhbuild.settings import Settings
from dvhbuild.stack import load_stack
from dvhbuild.tables import comparison_table, tables, verdict_table
from dvhbuild.traces import Traced
from dvhbuild.verdict import Outcome, check, judge, load_bounds, summary, unjudged

TABLE_WIDTH = 200
"""Characters that the tables need, whatever the terminal has."""


@click.command()
@click.argument("experiments", nargs=-1)
@click.option("--json", "file", type=new_file, help="Write the result to this file.")
@click.option("--report", "report_file", type=new_file, help="Write a report of it to this file, as HTML.")
@click.option("--perfetto", "traces_file", type=new_file, help="Write all traces to this file, for ui.perfetto.dev.")
@click.option("--junit", "junit_file", type=new_file, help="Write the verdict to this file, as JUnit XML.")
@click.option("--compare", "earlier_file", type=old_file, help="Show what is different from this result.")
@click.option("--bounds", "show_bounds", is_flag=True, help="Show each bound, what was measured, and the margin.")
@click.option(
    "--ops",
    type=click.IntRange(1, 20000),
    default=1000,
    show_default=True,
    help="Operations of each kind; fewer than 1000 break a bound.",
)
@stack_option("matrix")
@config_option
@machine_option
@again_option
@fresh_option
@scheduler_option
@pass_settings
def verify(
    settings: Settings,
    experiments: tuple[str, ...],
    file: Path | None,
    report_file: Path | None,
    traces_file: Path | None,
    junit_file: Path | None,
    earlier_file: Path | None,
    show_bounds: bool,
    ops: int,
    stack_name: str,
    configs: tuple[str, ...],
    machine: str | None,
    again: bool,
    fresh: bool,
    scheduler: str | None,
) -> None:
    """Measure what operations cost at each level, and hold it against the bounds.

    EXPERIMENTS: exits, timer, idle, ipi, port, doorbell, device, traffic, idle-linux, workloads (those that the
    stack is for).
    Exit status 1 if a bound does not hold.
    """
    stack = load_stack(stack_name, machine=machine).narrowed(configs)
    job = Job(stack, choose(experiments, stack), ops, again, fresh)
    bounds = load_bounds()
    check(bounds, full_runs())
    earlier = results.read(earlier_file) if earlier_file else None
    traces: list[Traced] = []
    result = perform(Builder(settings), job, scheduler, traces.append if traces_file else None)
    file = file or settings.cache / "results" / f"{result.made_by.date:%Y%m%d-%H%M%S}.json"
    results.write(result, file)
    console = _console()
    outcomes = judge(result, bounds)
    _show_result(result, outcomes, console)
    click.echo(f"result: {file}")
    for sentence in unjudged(result, bounds):
        click.echo(f"not judged: {sentence}")
    if report_file:
        cli_report.write(result, html=report_file)
    if traces_file:
        perfetto.write(traces_file, traces)
        click.echo(f"traces: {traces_file}")
    if junit_file:
        files.replace(junit_file, junit(result, outcomes))
        click.echo(f"JUnit XML: {junit_file}")
    if earlier:
        click.echo(f"\nbefore: {earlier_file}")
        _show_comparison(comparing.compare(earlier, result), earlier, result, console)
    if show_bounds:
        console.print(verdict_table(outcomes))
    _conclude(outcomes)


@click.command()
@click.argument("before", type=old_file)
@click.argument("after", type=old_file)
@as_json
def compare(before: Path, after: Path, as_json: bool) -> None:
    """Show what is different between two results: the inputs, and the rows, those that changed most first.

    Exits and entries are medians, p50 is the median of instructions. A row is unchanged if exits and entries are the
    same and instructions differ by no more than the emulated machine's clock may, by itself.
    """
    old, new = results.read(before), results.read(after)
    comparison = comparing.compare(old, new)
    if as_json:
        print_json(comparing.document(comparison))
        return
    _show_comparison(comparison, old, new, _console())


def _console() -> Console:
    console = Console()
    console.width = max(console.width, TABLE_WIDTH)
    return console


def _show_result(result: Result, outcomes: Collection[Outcome], console: Console) -> None:
    console.print(f"{result.inputs.machine}, {result.made_by.date:%Y-%m-%d %H:%M} UTC")
    for table in tables(result, outcomes):
        console.print(table)
    if known := [date for date in result.measured if date < result.made_by.date]:
        parts = f"{len(known)} of {count(len(result.measured), 'part')}"
        click.echo(f"{parts} measured before, the first on {min(known):%Y-%m-%d %H:%M} UTC (--again: anew)")


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


def _show_comparison(comparison: Comparison, before: Result, after: Result, console: Console) -> None:
    click.echo("inputs that changed:" if comparison.inputs else "the same inputs")
    for difference in comparison.inputs:
        click.echo(f"  {difference.what}: {difference.before} → {difference.after}")
    show_rows(comparison, before.rows, after.rows, console)
    if any(part for result in (before, after) for part in (result.idle, result.tasks, result.workloads)):
        click.echo("idle Linuxes, tasks of L1 and workloads are not compared")


def show_rows(comparison: Comparison, before: Iterable[Row], after: Iterable[Row], console: Console) -> None:
    """Print what is different between rows, and how many are not."""
    if comparison.changed:
        console.print(comparison_table(comparison.changed))
    if repeats := sum(pair.repeats for pair in comparison.changed):
        click.echo(f"{repeats} of these by no more than {comparing.REPEATS:.0%}, as they may be from run to run")
    old, new = ([row.case for row in rows] for rows in (before, after))
    for said, cases, others in (("no more", comparison.vanished, new), ("new", comparison.appeared, old)):
        if cases:
            click.echo(f"{said}: {comparing.names(cases, others)}")
    same = f"the same exits and entries, and instructions within {comparing.RESOLUTION}, as RDTSC can't tell less"
    click.echo(f"{count(len(comparison.unchanged), 'row')} unchanged: {same}")
