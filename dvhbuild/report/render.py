# SPDX-License-Identifier: GPL-2.0-or-later
"""A page as HTML and as Markdown: jinja2's templates, what they call, and how each escapes what it did not write."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from dvhbuild.figures import number, share
from dvhbuild.report import pictures, plots
from dvhbuild.report.page import CONFIGS, Page, Shown
from dvhbuild.result import Row, Workload
from dvhbuild.trace import Picture

_LOADER = PackageLoader("dvhbuild.report", "templates")
NONE = "\N{EN DASH}"
TIMES = "\N{NO-BREAK SPACE}\N{MULTIPLICATION SIGN}"
_SPECIAL = re.compile(r"([\\`*\[\]<>|~]|(?<!\w)_|_(?!\w)|&(?=[#\w]))")


def html(page: Page) -> str:
    """One file that fetches nothing."""
    environment = _environment(autoescape=True)
    environment.filters["lanes"] = _lanes
    environment.globals |= {"plots": plots, "style": Markup(_text("style.css"))}  # noqa: S704 - ours
    return environment.get_template("report.html.j2").render(page=page) + "\n"


def markdown(page: Page) -> str:
    """The same without pictures: what they show is told."""
    environment = _environment(autoescape=False, finalize=_plain)
    environment.filters["code"] = _code
    environment.filters["cell"] = _cell
    environment.filters["block"] = _block
    environment.filters["story"] = _story
    return environment.get_template("report.md.j2").render(page=page)


def _environment(*, autoescape: bool, finalize: Callable[[Any], Any] | None = None) -> Environment:
    environment = Environment(
        loader=_LOADER,
        autoescape=autoescape,  # noqa: S701 - what Markdown takes for markup, `finalize` escapes
        finalize=finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"figure": _figure, "times": _times, "number": number, "share": share, "by": _by}
    environment.filters |= {"told": pictures.told, "summary": summary}
    environment.globals["CONFIGS"] = CONFIGS
    return environment


def _text(name: str) -> str:
    return _LOADER.get_source(Environment(autoescape=True), name)[0]


def _figure(value: float | None) -> str:
    """A number as people write it; nothing if there is none."""
    if value is None:
        return NONE
    return f"{value:,.0f}" if value == int(value) or value >= 100 else f"{value:,.1f}"


def _times(value: float | None) -> str:
    """A multiple."""
    if value is None:
        return NONE
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f}{TIMES}"


def _by(rows: Iterable[Row | Workload], field: str) -> dict[str, list[Row | Workload]]:
    """Groups of rows that have the same `field`, in the order in which they come."""
    groups: dict[str, list[Row | Workload]] = {}
    for row in rows:
        groups.setdefault(getattr(row, field), []).append(row)
    return groups


def _lanes(shown: Shown) -> Markup:
    """The picture of a row, which has one."""
    if shown.row.picture is None:
        raise ValueError(f"{shown.row.operation}: a row without a picture")
    together = (row.picture for row in shown.together if row.picture)
    return pictures.draw(shown.row.picture, f"{shown.row.operation}, {summary(shown.row)}", together)


def summary(row: Row) -> str:
    """What a row's picture shows, in a line: the operation's own exits and entries."""
    own = [each for each in row.picture.crossings if each.part == "own"] if row.picture else []
    left = sum(each.kind == "exit" for each in own)
    entered = sum(each.kind == "entry" and each.level < row.level for each in own)
    entries = f", {_many(entered, 'entry', 'entries')} of L1" if row.level > 1 else ""
    return f"{CONFIGS.get(row.config, row.config)}: {_many(left, 'exit', 'exits')} to L0{entries}"


def _many(count: int, one: str, more: str) -> str:
    return f"{count or 'no'} {one if count == 1 else more}"


def _story(picture: Picture) -> Iterator[str]:
    """A picture's lines, the times in a column."""
    for time, where, what in pictures.told(picture):
        yield f"{'' if time is None else f'{time:,}':>9}  {where}: {what}"


def _plain(value: Any) -> Any:
    """Text that Markdown shows as it is, also in a table's cell; what a filter made of it is left alone."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return _SPECIAL.sub(r"\\\1", re.sub(r"[ \t\r\n\f\v]+", " ", value))


def _fence(text: str, least: int) -> str:
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    return "`" * max(least, longest + 1)


def _code(value: Any) -> Markup:
    """A code span; `_cell` is one in a table, where a pipe ends the cell, even so, without a backslash before it."""
    text = " ".join(str(value).split())
    fence = _fence(text, 1)
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return Markup(f"{fence}{space}{text}{space}{fence}")  # noqa: S704 - nothing in a code span is markup


def _cell(value: Any) -> Markup:
    return _code(value).replace("|", r"\|")


def _block(value: str | Iterable[str]) -> Markup:
    """A fenced block of lines."""
    text = value if isinstance(value, str) else "\n".join(value)
    fence = _fence(text, 3)
    return Markup(f"{fence}\n{text}\n{fence}")  # noqa: S704 - nothing in a code block is markup
