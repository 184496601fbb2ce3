# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line's part for reports: a result as HTML and as Markdown."""

from __future__ import annotations

from pathlib import Path

import click

from dvhbuild import files
from dvhbuild import report as reports
from dvhbuild import result as results
from dvhbuild.options import new_file, old_file
from dvhbuild.result import Result
from dvhbuild.verdict import load_bounds


@click.command()
@click.argument("result_file", metavar="RESULT", type=old_file)
@click.option("--html", type=new_file, help="Write HTML to this file: one file that needs nothing else.")
@click.option("--markdown", type=new_file, help="Write Markdown to this file.")
def report(result_file: Path, html: Path | None, markdown: Path | None) -> None:
    """Show the RESULT of a measurement (verify's JSON) as a report; without options, as HTML beside it.

    The verdict is in it; that a bound does not hold is no failure of this command.
    """
    if html is None and markdown is None:
        html = result_file.with_suffix(".html")
    write(results.read(result_file), html=html, markdown=markdown)


def write(result: Result, *, html: Path | None, markdown: Path | None = None) -> None:
    """Write the report of `result` to the files that are given, and say so."""
    page = reports.build(result, load_bounds())
    for path, text in ((html, reports.html), (markdown, reports.markdown)):
        if path:
            files.replace(path, text(page))
            click.echo(f"report: {path}")
