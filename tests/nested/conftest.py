# SPDX-License-Identifier: GPL-2.0-or-later
"""Real machines: what the tests share is only what the store holds anyway."""

import os
from pathlib import Path

import pytest

from dvhbuild.build import Builder
from dvhbuild.settings import Settings
from dvhbuild.stack import load_stack
from dvhbuild.steps import Silent

pytestmark = pytest.mark.nested


@pytest.fixture(scope="session")
def builder():
    return Builder(Settings.from_environment(Silent()))


@pytest.fixture(scope="session")
def stack():
    return load_stack("base-2cpu")


@pytest.fixture
def ours():
    """The pids of all processes that descend from this one, as a function."""
    return lambda: _descendants(os.getpid())


def _descendants(pid):
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            children = (task / "children").read_text().split()
        except OSError:
            continue
        for child in map(int, children):
            found += [child, *_descendants(child)]
    return found
