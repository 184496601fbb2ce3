# SPDX-License-Identifier: GPL-2.0-or-later
"""L2's clock against L1's: both are read through their agents, between two readings of the other."""

from typing import NamedTuple

import pytest

from dvhbuild.lab import bring_up

pytestmark = pytest.mark.nested

LIMIT = 60.0
IDLE = 30
"""Seconds of L2's own, which idles meanwhile."""
TRIES = 10
PRECISION = 0.005
DRIFT = 1e-4


class Lead(NamedTuple):
    """How far L2's clock is ahead of L1's, give or take `error`: seconds of L1's."""

    error: float
    seconds: float


def lead(l1, l2):
    before, between, after = l1.ping(LIMIT), l2.ping(LIMIT), l1.ping(LIMIT)
    return Lead((after - before) / 2, between - (before + after) / 2)


@pytest.mark.parametrize("variant", ["on", "off"])
def test_the_clock_of_l2_does_not_drift(builder, stack, tmp_path, variant):
    with bring_up(builder, stack.configured(variant), 2, tmp_path) as nest:
        _l0, l1, l2 = (level.agent for level in nest.levels)
        begin, first = l1.ping(LIMIT), min(lead(l1, l2) for _ in range(TRIES))
        assert "early=0" in l2.check("dvhload timer 1000", timeout=300)
        l2.check(f"sleep {IDLE}", timeout=300)
        last, passed = min(lead(l1, l2) for _ in range(TRIES)), l1.ping(LIMIT) - begin
        assert passed > IDLE
        assert max(first.error, last.error) < PRECISION
        assert abs(last.seconds - first.seconds) < first.error + last.error + DRIFT * passed
