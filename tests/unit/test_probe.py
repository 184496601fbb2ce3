# SPDX-License-Identifier: GPL-2.0-or-later
"""What the probe says of a run."""

import pytest

from dvhbuild.probe import parse

RESULT = "probe: result op=ipi ops=1000 lost=1 early=2 wrong=3 min=4 p50=5 p90=6 p99=7 max=8 sum=9000"
HISTOGRAM = "probe: hist op=ipi 16768:900 16784:99 44768:1"


def test_a_result_line_is_read():
    outcome = parse(RESULT)
    assert (outcome.operation, outcome.ops, outcome.lost, outcome.early, outcome.wrong) == ("ipi", 1000, 1, 2, 3)
    assert (outcome.p50, outcome.p90, outcome.p99, outcome.max, outcome.mean) == (5, 6, 7, 8, 9)
    assert outcome.distribution == ()


def test_a_histogram_comes_with_it():
    outcome = parse(f"{RESULT}\n{HISTOGRAM}\n")
    assert outcome.distribution == ((16768, 900), (16784, 99), (44768, 1))
    assert parse(f"{RESULT}\nprobe: hist op=ipi\n").distribution == ()


@pytest.mark.parametrize("said", ["", HISTOGRAM, "probe: result op=ipi"])
def test_what_is_no_result_is_an_error(said):
    with pytest.raises(ValueError, match="not a result of the probe"):
        parse(said)
