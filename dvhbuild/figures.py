# SPDX-License-Identifier: GPL-2.0-or-later
"""Figures for people."""

from __future__ import annotations


def number(value: float) -> str:
    """16,768 or 1.24376."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.6g}"


def share(value: float) -> str:
    """What one of many has, of which that may be less than one: 12.3, 1.23 or 0.012."""
    return f"{value:,.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def count(many: int, one: str, several: str = "") -> str:
    """With the word: "1 row" or "1,000 rows"; `several` is the plural, if that is not made by an s."""
    return f"{many:,} {one if many == 1 else several or f'{one}s'}"
