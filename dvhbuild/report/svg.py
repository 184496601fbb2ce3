# SPDX-License-Identifier: GPL-2.0-or-later
"""Elements of SVG as text; all that goes in is escaped. Colours and type are the style sheet's, by class."""

from __future__ import annotations

from markupsafe import Markup, escape

FONT = 11
"""Size of all text, pixels."""

GLYPH = 7.5
"""Width of a character of it, on average over a word in capitals, in the widest of the fonts, pixels."""


def element(name: str, *children: str, **attributes: str | float) -> Markup:
    """One element; `class_` is class, `text_anchor` text-anchor. Numbers are rounded to a tenth of a pixel."""
    words = [escape(name)]
    for key, value in attributes.items():
        shown = value if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")
        words.append(Markup('{}="{}"').format(key.rstrip("_").replace("_", "-"), shown))
    head = Markup(" ").join(words)
    if not children:
        return Markup("<{}/>").format(head)
    return Markup("<{}>{}</{}>").format(head, Markup().join(map(escape, children)), name)


def image(width: float, height: float, text: str, *children: str) -> Markup:
    """A whole image, `width` x `height` pixels; `text` says in words what it shows."""
    return element(
        "svg",
        *children,
        viewBox=f"0 0 {width:.0f} {height:.0f}",
        width=f"{width:.0f}",
        height=f"{height:.0f}",
        role="img",
        aria_label=text,
        font_size=FONT,
    )


def titled(title: str, *children: str, **attributes: str | float) -> Markup:
    """A group that says `title` when it is pointed at."""
    return element("g", element("title", title), *children, **attributes)


def width_of(text: str) -> float:
    """Pixels that `text` takes at most."""
    return GLYPH * len(text)
