# SPDX-License-Identifier: GPL-2.0-or-later
"""Processes that descend from one, and which of them are left."""

import time
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


def left(pids, seconds=10):
    """Which of `pids` still run after up to `seconds`."""
    end = time.monotonic() + seconds
    while (alive := [pid for pid in pids if Path(f"/proc/{pid}").exists()]) and time.monotonic() < end:
        time.sleep(0.05)
    return alive
