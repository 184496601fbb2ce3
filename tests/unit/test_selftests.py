# SPDX-License-Identifier: GPL-2.0-or-later
"""KVM's selftests: what recorded ones say of themselves, each with its negative twin; what is known; and time-outs."""

import time
from pathlib import Path
from types import SimpleNamespace

import pygit2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvhbuild import trial
from dvhbuild.errors import GuestError, UserError
from dvhbuild.hub import Hub
from dvhbuild.ksft import Kind, Verdict, judge
from dvhbuild.loglines import Finding
from dvhbuild.recipes.selftests import graft, programs
from dvhbuild.selftests import Plan, choose, expected, load_plan

LOGS = Path(__file__).parent / "selftests"
KNOWN = {"says": "got '0x6'", "why": "because", "seen": "6.12"}
PLAN = Plan(
    tests=("*",), seconds=1, slow={"slow": 9}, failure={"broken": KNOWN}, skip={"absent": KNOWN | {"says": "no PMU"}}
)


def recorded(name):
    return (LOGS / f"{name}.log").read_text()


@pytest.mark.parametrize(
    ("name", "status", "kind", "why"),
    [
        ("tsc_msrs_test", 0, Kind.OK, ""),
        ("userspace_msr_exit_test", 0, Kind.OK, ""),
        ("vmx_tsc_adjust_test", 0, Kind.OK, ""),
        ("vmx_pmu_caps_test", 4, Kind.SKIPPED, "Requirement not met: kvm_is_pmu_enabled()"),
        ("monitor_mwait_test", 254, Kind.FAILED, "exit status 254: x86_64/monitor_mwait_test.c:49: !(vector)"),
    ],
)
def test_recorded_tests(name, status, kind, why):
    assert judge(status, recorded(name)) == Verdict(kind, why)


@pytest.mark.parametrize("name", ["tsc_msrs_test", "userspace_msr_exit_test", "vmx_tsc_adjust_test"])
@pytest.mark.parametrize(
    ("status", "why"), [(1, "exit status 1"), (137, "killed by signal 9"), (255, "exit status 255")]
)
def test_a_bad_status_is_a_failure_whatever_was_printed(name, status, why):
    assert judge(status, recorded(name)) == Verdict(Kind.FAILED, why)


def test_a_not_ok_is_a_failure_whatever_the_status():
    text = recorded("tsc_msrs_test").replace("ok 2 stage", "not ok 2 stage")
    for status in (0, 1, 4):
        assert judge(status, text) == Verdict(Kind.FAILED, "1 of 5 not ok, the first: 2 stage 3 passed")


def test_an_error_is_not_ok():
    assert judge(0, "1..1\nnot ok 1 # error no memory\n").why == "1 of 1 not ok, the first: 1 no memory"


def test_a_not_ok_that_the_test_expects_is_none():
    assert judge(0, "1..2\nok 1 a\nnot ok 2 b # TODO later\n").kind is Kind.OK


def test_a_result_that_was_planned_and_is_missing_is_a_failure():
    text = recorded("tsc_msrs_test").replace("ok 5 stage 6 passed\n", "")
    assert judge(0, text) == Verdict(Kind.FAILED, "5 results were planned, there are 4")


def test_parts_that_skip_are_told():
    text = recorded("tsc_msrs_test").replace("ok 5 stage 6 passed", "ok 5 # SKIP no TSC")
    assert judge(0, text) == Verdict(Kind.OK, "1 of 5 skipped, the last: no TSC")


@pytest.mark.parametrize("status", [0, 4])
def test_a_plan_of_none_is_a_skip(status):
    assert judge(status, "TAP version 13\n1..0 # SKIP - not here\n") == Verdict(Kind.SKIPPED, "not here")


def test_a_skip_without_tap_has_the_last_line_as_its_reason():
    assert judge(4, "Random seed: 0x1\nHUGETLB is not configured in host kernel").why.startswith("HUGETLB")
    assert judge(4, "").why == "no reason given"


@pytest.mark.parametrize("line", ["ok", "okay 1", "ok then", "# ok 1 a", "not ok", "1..", "1..2.."])
def test_prose_is_no_result(line):
    assert judge(0, line) == Verdict(Kind.OK)


@given(st.integers(0, 255), st.text(max_size=80))
def test_any_output_has_a_verdict_and_only_a_good_status_is_ok(status, text):
    verdict = judge(status, text)
    assert verdict.kind is not Kind.OK or status == 0


FAILED = Verdict(Kind.FAILED, "exit status 254")


@pytest.mark.parametrize(
    ("test", "verdict", "output", "kind", "good"),
    [
        ("any", Verdict(Kind.OK), "", Kind.OK, True),
        ("any", FAILED, "", Kind.FAILED, False),
        ("any", Verdict(Kind.SKIPPED, "no PMU"), "no PMU", Kind.FAILED, False),
        ("broken", FAILED, "wanted none, got '0x6'", Kind.KNOWN, True),
        ("broken", FAILED, "wanted none, got '0x5'", Kind.FAILED, False),
        ("broken", Verdict(Kind.OK), "", Kind.FAILED, False),
        ("broken", Verdict(Kind.SKIPPED, "got '0x6'"), "got '0x6'", Kind.FAILED, False),
        ("absent", Verdict(Kind.SKIPPED, "no PMU"), "no PMU", Kind.SKIPPED, True),
        ("absent", Verdict(Kind.SKIPPED, "no KVM"), "no KVM", Kind.FAILED, False),
        ("absent", Verdict(Kind.OK), "", Kind.FAILED, False),
    ],
)
def test_a_verdict_is_held_against_what_is_known(test, verdict, output, kind, good):
    shown, well = expected(test, verdict, output, PLAN)
    assert (shown.kind, well) == (kind, good)


def test_a_known_failure_that_passes_says_where_it_is_known():
    shown, _ = expected("broken", Verdict(Kind.OK), "", PLAN)
    assert "selftests.toml has it as failing" in shown.why


def test_tests_are_chosen_by_name_or_pattern_the_slow_ones_first():
    built = ["absent", "broken", "one", "slow"]
    assert choose(built, (), PLAN) == ("slow", "absent", "broken", "one")
    assert choose(built, ("o*", "slow", "one"), PLAN) == ("slow", "one")
    with pytest.raises(UserError, match="two: no such test"):
        choose(built, ("one", "two"), PLAN)


def test_a_test_that_is_known_but_no_longer_there_is_an_error():
    with pytest.raises(UserError, match="broken: there is no such test"):
        choose(["absent", "one", "slow"], (), PLAN)


def test_our_plan_is_well_formed_and_names_what_it_has_seen():
    plan = load_plan()
    assert plan.failure.keys().isdisjoint(plan.skip)
    for known in (*plan.failure.values(), *plan.skip.values()):
        assert known.seen.startswith("unpatched ")


@pytest.mark.parametrize(
    ("text", "key"),
    [("tests = []\nseconds = 1", "tests"), ("seconds = 0\ntests = ['*']", "seconds"), ("x = [", "TOML")],
)
def test_a_faulty_plan_is_named_with_its_key(tmp_path, text, key):
    (tmp_path / "plan.toml").write_text(text)
    with pytest.raises(UserError, match=rf"plan\.toml: .*{key}"):
        load_plan(tmp_path / "plan.toml")


MAKEFILE = """\
TEST_PROGS_x86_64 += x86_64/nx_test.sh
TEST_GEN_PROGS_x86_64 = x86_64/cpuid_test
TEST_GEN_PROGS_x86_64 += x86_64/vmx_msrs_test
TEST_GEN_PROGS_x86_64 += dirty_log_test
# TEST_GEN_PROGS_x86_64 += x86_64/vmx_off_test
TEST_GEN_PROGS_EXTENDED_x86_64 += x86_64/vmx_extra
TEST_GEN_PROGS_aarch64 += aarch64/vmx_arm
"""


def test_programs_are_found_in_the_makefile_by_pattern():
    assert programs(MAKEFILE, ("vmx_*", "*msr*")) == ("x86_64/vmx_msrs_test",)
    assert programs(MAKEFILE, ("dirty*", "cpuid_test")) == ("dirty_log_test", "x86_64/cpuid_test")
    with pytest.raises(UserError, match=r"vmx_ipiv_test: no selftest"):
        programs(MAKEFILE, ("vmx_*", "vmx_ipiv_test"))


def test_the_tree_to_build_from_has_nothing_but_the_parts_that_are_named(imported):
    repository = pygit2.Repository(str(imported.repo))
    tree = repository[imported.tree]
    some = repository[graft(repository, tree, ("VERSION", "src/main.c", "tools"))]
    assert [entry.name for entry in some] == ["VERSION", "src", "tools"]
    assert [entry.name for entry in some["src"]] == ["main.c"]
    assert some["tools/run"].filemode == tree["tools/run"].filemode
    with pytest.raises(UserError, match="usr: not in this tree"):
        graft(repository, tree, ("usr/Makefile",))


class FakeL0:
    """An L0 whose agent starts one test that prints `output` and ends with `status`, or never if that is None."""

    def __init__(self, hub, output=b"", status=0, finding=None):
        self.pings = 0
        self.machine = SimpleNamespace(hub=hub)
        self.top = SimpleNamespace(agent=self, log=SimpleNamespace(matcher=SimpleNamespace(finding=finding)))
        self.over = status is not None
        self.output, self.status = output, status

    def start(self, _command):
        return self

    def attach(self, on_data, _on_close):
        on_data(self.output)

    def ping(self, _limit):
        self.pings += 1

    def wait_exit(self, _channel, _limit):
        return self.status


@pytest.fixture
def hub():
    with Hub() as made:
        yield made


def test_a_test_that_ends_is_judged_and_its_output_is_kept(hub, tmp_path):
    outcome, fit = trial.run_test(FakeL0(hub, b"ok 1 a\n1..1\n"), "one", PLAN, tmp_path)
    assert (outcome.verdict, outcome.good, fit) == (Verdict(Kind.OK), True, True)
    assert (tmp_path / "one.log").read_bytes() == b"ok 1 a\n1..1\n"


def test_a_test_that_does_not_end_fails_in_its_own_time_and_l0_is_asked_whether_it_lives(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(trial, "PING_EVERY", 0.2)
    l0 = FakeL0(hub, b"Random seed: 1\n", status=None)
    begin = time.monotonic()
    outcome, fit = trial.run_test(l0, "one", PLAN, tmp_path)
    assert 0.9 < time.monotonic() - begin < 5
    assert (outcome.verdict, outcome.good, fit) == (Verdict(Kind.FAILED, "not done after 1 s"), False, False)
    assert outcome.tail == ("Random seed: 1",)
    assert l0.pings >= 3


def test_a_host_that_stands_still_costs_a_test_little_of_its_time(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(trial, "PING_EVERY", 0.2)
    l0 = FakeL0(hub, b"ok 1 a\n1..1\n", status=None)

    def ping(_limit):
        l0.pings += 1
        if l0.pings == 1:
            time.sleep(1.5)
        l0.over = l0.pings == 3
        l0.status = 0

    monkeypatch.setattr(l0, "ping", ping)
    outcome, fit = trial.run_test(l0, "one", PLAN, tmp_path)
    assert (outcome.verdict, fit) == (Verdict(Kind.OK), True)


def test_a_slow_test_has_a_limit_of_its_own():
    assert (PLAN.limit("one"), PLAN.limit("slow")) == (1, 9)
    debug = PLAN.model_copy(update={"debug": 3}).for_debug()
    assert (debug.limit("one"), debug.limit("slow")) == (3, 27)


def test_a_test_that_passes_while_the_kernel_warns_has_failed(hub, tmp_path):
    error = GuestError("L0: the kernel warned", level=0, tail=("WARNING: CPU: 0",), log=tmp_path / "l0.log")
    hub.later(0.3, lambda: hub.fail(error))
    l0 = FakeL0(hub, finding=Finding("warning", "the kernel warned", "WARNING: CPU: 0"))
    outcome, fit = trial.run_test(l0, "one", PLAN, tmp_path)
    assert (outcome.verdict, fit) == (Verdict(Kind.FAILED, "L0: the kernel warned"), False)
    assert (outcome.tail, outcome.log) == (("WARNING: CPU: 0",), tmp_path / "l0.log")


def test_a_known_failure_does_not_excuse_a_kernel_that_warns(hub, tmp_path):
    hub.fail(GuestError("L0: the kernel warned", level=0))
    finding = Finding("warning", "the kernel warned", "WARNING: CPU: 0")
    outcome, _ = trial.run_test(FakeL0(hub, b"got '0x6'", 254, finding), "broken", PLAN, tmp_path)
    assert (outcome.verdict.kind, outcome.good) == (Kind.FAILED, False)
