# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's qtests: which there are, what their output says, and how one is run; with scripts in place of tests."""

import json
import time

import pytest

from dvhbuild.errors import HostError, UserError
from dvhbuild.ksft import Kind, Verdict, judge
from dvhbuild.qtests import LIST, run, run_test
from dvhbuild.recipes.qtests import DATA, names
from dvhbuild.selftests import Outcome, Plan, load_plan
from dvhbuild.settings import Settings

PLAN = Plan(tests=("*",), seconds=20)
INTROSPECTED = json.dumps(
    [
        {"name": "qtest-x86_64/rtc-test", "suite": ["qemu:qtest", "qemu:qtest-x86_64"]},
        {"name": "qtest-x86_64/q35-test", "suite": ["qemu:qtest", "qemu:qtest-x86_64"]},
        {"name": "qtest-arm/rtc-test", "suite": ["qemu:qtest", "qemu:qtest-arm"]},
        {"name": "test-qht", "suite": ["qemu:unit"]},
    ]
)
PASSED = "# random seed: R02S\n1..2\nok 1 /x86_64/a\nok 2 /x86_64/b\n"
BAILED = "# random seed: R02S\n1..2\nok 1 /x86_64/a\n**\nERROR:b.c:9:t: no\nBail out! ERROR:b.c:9:t: no\nAborted\n"


def test_the_x86_qtests_are_those_of_their_suite():
    assert names(INTROSPECTED, ["*"]) == ("q35-test", "rtc-test")
    assert names(INTROSPECTED, ["rtc*", "q35-test"]) == ("q35-test", "rtc-test")


def test_a_pattern_without_a_qtest_is_an_error():
    with pytest.raises(UserError, match="test-qht: QEMU has no qtest"):
        names(INTROSPECTED, ["rtc-test", "test-qht"])


def test_the_plan_is_read_and_names_its_file():
    assert load_plan(LIST).file == "qtests.toml"


def test_all_results_and_a_good_status_are_a_success():
    assert judge(0, PASSED) == Verdict(Kind.OK)
    assert judge(0, PASSED.replace("ok 2 /x86_64/b\n", "")).kind is Kind.FAILED


@pytest.mark.parametrize("status", [0, 1, 134])
def test_a_test_that_bails_out_has_failed_and_says_why(status):
    assert judge(status, BAILED) == Verdict(Kind.FAILED, "ERROR:b.c:9:t: no")


def test_a_signal_without_a_word_is_a_failure():
    assert judge(134, PASSED) == Verdict(Kind.FAILED, "killed by signal 6")


@pytest.fixture
def settings(tmp_path):
    return Settings(root=tmp_path, cache=tmp_path / "cache")


@pytest.fixture
def built(tmp_path):
    """A store entry with no tests in it."""
    (tmp_path / "built" / "bin").mkdir(parents=True)
    for part in DATA:
        (tmp_path / "built" / part).mkdir(parents=True)
    return tmp_path / "built"


def script(built, name, body):
    path = built / "bin" / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return name


def test_a_test_has_its_qemu_its_data_and_a_directory_of_its_own(built, tmp_path, settings):
    data = "; ".join(f"test -d {part}" for part in DATA)
    body = f'set -e; {data}; touch left; echo "$QTEST_QEMU_BINARY $*"; echo 1..1; echo ok 1 a'
    outcome = run_test(built, script(built, "good", body), PLAN, tmp_path / "run", settings)
    assert outcome.good
    assert outcome.verdict == Verdict(Kind.OK)
    assert outcome.log.read_text().splitlines()[0] == f"{built}/qemu-system-x86_64 --tap -k"
    assert (tmp_path / "run" / "good" / "left").exists()
    assert not (built / "left").exists()


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("echo 1..1; echo ok 1 a; kill -6 $$", "killed by signal 6"),
        ("echo 1..1; echo ok 1 a; exit 3", "exit status 3"),
        ("echo 1..1; echo not ok 1 a", "1 of 1 not ok, the first: 1 a"),
        ("echo '1..0 # SKIP no disk'", "skipped, which selftests.toml does not expect: no disk"),
    ],
)
def test_a_test_that_does_anything_else_has_failed(built, tmp_path, settings, body, why):
    outcome = run_test(built, script(built, "bad", body), PLAN, tmp_path / "run", settings)
    assert (outcome.good, outcome.verdict) == (False, Verdict(Kind.FAILED, why))


def test_a_test_that_does_not_end_is_ended(built, tmp_path, settings):
    plan = PLAN.model_copy(update={"seconds": 0.3})
    begin = time.monotonic()
    outcome = run_test(built, script(built, "hangs", "echo begun; sleep 60"), plan, tmp_path / "run", settings)
    assert (outcome.good, outcome.verdict.why) == (False, "not done after 0.3 s")
    assert outcome.tail == ("begun",)
    assert time.monotonic() - begin < 30


def test_all_tests_are_run_and_the_rest_end_when_nobody_waits(built, tmp_path, settings):
    wanted = [script(built, f"test-{number}", "echo 1..1; echo ok 1 a") for number in range(5)]
    assert sorted(outcome.test for outcome in run(built, wanted, PLAN, tmp_path / "run", settings)) == wanted

    other = Settings(root=tmp_path, cache=tmp_path / "cache")
    begin = time.monotonic()
    patient = PLAN.model_copy(update={"seconds": 60})
    running = run(built, [wanted[0], script(built, "long", "sleep 60")], patient, tmp_path / "run2", other)
    assert next(running).test == wanted[0]
    running.close()
    assert time.monotonic() - begin < 30


def test_another_kind_of_test_is_run_among_them(built, tmp_path, settings):
    def other():
        return Outcome("other", Verdict(Kind.FAILED, "no"), good=False, seconds=1, tail=(), log=tmp_path)

    wanted = [script(built, "test", "echo 1..1; echo ok 1 a"), "other"]
    outcomes = run(built, wanted, PLAN, tmp_path / "run", settings, {"other": other})
    assert {outcome.test: outcome.good for outcome in outcomes} == {"test": True, "other": False}


def test_a_test_that_is_cancelled_is_no_result(built, tmp_path, settings):
    settings.cancelled.set()
    with pytest.raises(HostError, match="long: cancelled"):
        run_test(built, script(built, "long", "sleep 60"), PLAN, tmp_path / "run", settings)
