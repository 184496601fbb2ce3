# SPDX-License-Identifier: GPL-2.0-or-later
"""A result as a report for people: one HTML file that needs nothing else, or the same as Markdown.

    build(result, bounds) -> page;  html(page), markdown(page) -> text

What it is not for: judging (`dvhbuild.verdict`), and whole traces (`dvhbuild.perfetto`).
"""

from dvhbuild.report.page import Page, build
from dvhbuild.report.render import html, markdown

__all__ = ["Page", "build", "html", "markdown"]
