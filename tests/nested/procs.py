# SPDX-License-Identifier: GPL-2.0-or-later
"""Processes that descend from one."""

from pathlib import Path


def descendants(pid):
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            children = (task / "children").read_text().split()
        except OSError:
            continue
        for child in map(int, children):
            found += [child, *descendants(child)]
    return found
