# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands of `dvhbuild series`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from dvhbuild import doctor as doctoring
from dvhbuild import series as patches
from dvhbuild.build import SERIES, Builder
from dvhbuild.errors import VerdictError
from dvhbuild.options import as_json, pass_settings, print_json
from dvhbuild.prefixes import AREA, check_prefixes
from dvhbuild.settings import Settings

base_argument = click.argument("base", type=click.Choice(list(SERIES)))


@click.group()
def series() -> None:
    """Patches as commits, and commits as patches."""


@series.command("status")
@click.argument("directory", type=click.Path(path_type=Path, exists=True, file_okay=False), required=False)
@as_json
@pass_settings
def series_status(settings: Settings, directory: Path | None, as_json: bool) -> None:
    """Show what each series applies to; with DIRECTORY, how that checkout differs from its series."""
    builder = Builder(settings)
    if directory is not None:
        found = asdict(patches.status(directory, settings))
        if as_json:
            print_json(found)
            return
        for kind in ("unchanged", "edited", "added", "removed", "uncommitted"):
            for name in found[kind]:
                click.echo(f"{kind:12}{name}")
        return
    rows = []
    for name in SERIES:
        loaded = builder.series(name)
        rows.append({"base": name, "applies_to": loaded.applies_to, "patches": list(loaded.names)})
    if as_json:
        print_json(rows)
        return
    for row in rows:
        click.echo(f"{row['base']} {row['applies_to']}: {len(row['patches'])} patches")
        for patch in row["patches"]:
            click.echo(f"  {patch}")


@series.command("apply")
@click.argument("bases", type=click.Choice(list(SERIES)), nargs=-1)
@pass_settings
def series_apply(settings: Settings, bases: tuple[str, ...]) -> None:
    """Apply the series of BASES (all) to their bases, as commits in dvhbuild's own repositories."""
    builder = Builder(settings)
    for name in bases or SERIES:
        applied = builder.applied(name)
        click.echo(f"{name} {builder.source(name).version}: {len(applied.patches)} patches, commit {applied.commit}")


@series.command("checkout")
@base_argument
@click.argument("directory", type=click.Path(path_type=Path))
@pass_settings
def series_checkout(settings: Settings, base: str, directory: Path) -> None:
    """Make DIRECTORY a git worktree of BASE with its series applied, to edit and commit in."""
    patches.checkout(Builder(settings).applied(base), directory.absolute(), settings)
    click.echo(f"{directory}: {base} with its series on branch dvh; then: dvhbuild series export {base} {directory}")


@series.command("export")
@base_argument
@click.argument("directory", type=click.Path(path_type=Path, exists=True, file_okay=False))
@pass_settings
def series_export(settings: Settings, base: str, directory: Path) -> None:
    """Write the commits of the worktree DIRECTORY back as the series of BASE."""
    changed = patches.export(directory.absolute(), settings.root / "patches" / SERIES[base], settings)
    for path in changed:
        click.echo(path)
    if not changed:
        click.echo("nothing changed")


@series.command("check")
@click.argument("bases", type=click.Choice(list(SERIES)), nargs=-1)
@pass_settings
def series_check(settings: Settings, bases: tuple[str, ...]) -> None:
    """Hold the series of BASES (all) against `git am` on a clean tree, and the tree's own checkpatch."""
    builders = {name: Builder(settings).without_checkout(name) for name in bases or SERIES}
    reports = [
        patches.check(builder.imported(name), builder.series(name), settings) for name, builder in builders.items()
    ]
    for report in reports:
        done = f": {', '.join(report.checks)}: {len(report.findings)} findings" if report.checks else ""
        click.echo(f"{report.base}: {report.patches} patches{done}")
        for finding in report.findings:
            click.echo(f"  {finding}")
    if findings := [finding for report in reports for finding in report.findings]:
        raise VerdictError(
            f"{len(findings)} findings in the patches, the first: {findings[0]}",
            remedy="dvhbuild series checkout BASE DIRECTORY; there: scripts/checkpatch.pl --strict PATCH",
        )


@series.command("bisectable")
@pass_settings
def series_bisectable(settings: Settings) -> None:
    """Build Linux as of each patch of its series: no failure, no warning (W=1, sparse) that was not there before."""
    doctoring.demand(doctoring.CHECKERS)
    builder = Builder(settings).without_checkout("linux")
    kernel = builder.kernel()
    findings = check_prefixes(kernel, builder.series("linux"), settings)
    for finding in findings:
        click.echo(finding)
    click.echo(f"linux {builder.source('linux').version}: built as of each of {len(kernel.source.patches)} patches")
    if findings:
        raise VerdictError(
            f"{len(findings)} findings in the patches, the first: {findings[0]}",
            remedy="dvhbuild series checkout linux DIRECTORY; there, at the patch's commit: make W=1 C=1 FILE.o",
            log=settings.logs / f"build-{AREA}.log",
        )
