# SPDX-License-Identifier: GPL-2.0-or-later
"""How much L1, or L0's kernel, has to do with what a guest does."""

import logging
from contextlib import contextmanager

LOG = logging.getLogger(__name__)
"""The figures: pytest --log-cli-level=info."""

MANY = 10_000

FEW = 500
"""Entries of L1 in a run of the probe's, for its beginning, its end and ticks of L1's: 90 to 180."""

STALL = 100_000_000
"""Instructions: less than it takes TCP to send anew (200 ms, at 3.5 GHz), were an interrupt lost."""


def run_and_count(nest, session, operation, count):
    """How often L1 enters L2 meanwhile; none of the operation's interrupts may be lost."""
    entries = f"cat /sys/kernel/debug/kvm/{nest.pid(1)}-*/nested_run"
    before = int(nest.levels[0].agent.check(entries))
    assert session.run(operation, count).lost == 0
    by_l1 = int(nest.levels[0].agent.check(entries)) - before
    LOG.info("%d times %s: L1 entered L2 %d times", count, operation, by_l1)
    return by_l1


@contextmanager
def traced(l0, event, wanted):
    """What L0 traces of `event` in the body, if `wanted` is in it: lines, which are there when the body has ended."""
    lines = []
    l0.check(f"cd /sys/kernel/tracing && echo {event} > set_event && echo > trace && echo 1 > tracing_on")
    yield lines
    lines += l0.check(f"cd /sys/kernel/tracing && echo > set_event && {{ grep {wanted} trace || true; }}").splitlines()
