# SPDX-License-Identifier: GPL-2.0-or-later
"""Real machines: what the tests share is only what the store holds anyway."""

import os
import signal

import pytest
from procs import descendants

from dvhbuild.build import Builder
from dvhbuild.crew import machines
from dvhbuild.settings import Settings
from dvhbuild.stack import load_stack
from dvhbuild.steps import Silent

pytestmark = pytest.mark.nested

signal.signal(signal.SIGINT, signal.default_int_handler)  # else what we start in the background ignores Ctrl-C
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # and below nohup, a terminal's end


def pytest_addoption(parser):
    parser.addoption("--rounds", type=int, default=1, help="times as much of what is measured by chance (default: 1)")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """A machine takes memory, not only a core."""
    return machines()


@pytest.fixture(scope="session")
def rounds(request):
    return request.config.getoption("rounds")


@pytest.fixture(scope="session")
def builder():
    return Builder(Settings.from_environment(Silent()))


@pytest.fixture(scope="session")
def stack():
    return load_stack("base-2cpu")


@pytest.fixture
def ours():
    """The pids of all processes that descend from this one, as a function."""
    return lambda: descendants(os.getpid())
