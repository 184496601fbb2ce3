# SPDX-License-Identifier: GPL-2.0-or-later
"""The bench for KVM's selftests, on tests of our own that do each thing that a test, or a kernel under it, may do."""

import os
import re

import pytest

from dvhbuild.ksft import Kind
from dvhbuild.selftests import Plan
from dvhbuild.stack import load_stack
from dvhbuild.store import Entry, digest_files
from dvhbuild.trial import Trial

pytestmark = pytest.mark.nested

STAIN = "/tmp/stain"
TESTS = {
    "good": "test -c /dev/kvm && echo '1..1' && echo 'ok 1 a guest is possible'",
    "skips": "echo '1..0 # SKIP - no need'; exit 4",
    "asserts": "echo '==== Test Assertion Failure ===='; echo '  here.c:1: false'; exit 254",
    "spins": f"touch {STAIN}; echo begun; while :; do :; done",
    "warns": f"touch {STAIN}; echo '<4>WARNING: CPU: 0 PID: 1 at arch/x86/kvm/x86.c:1 f+0x0/0x1' > /dev/kmsg",
    "panics": f"touch {STAIN}; echo c > /proc/sysrq-trigger",
    "clean": f"test ! -e {STAIN}",
    "trusts": "grep -x tsc /sys/devices/system/clocksource/clocksource0/current_clocksource",
}


@pytest.fixture(scope="module")
def disk(builder, tmp_path_factory):
    made = tmp_path_factory.mktemp("tests")
    for name, script in TESTS.items():
        path = made / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    return builder.tests_disk(Entry("selftests", digest_files(made / "bin"), made, {}))


@pytest.fixture
def run(builder, disk, tmp_path, monkeypatch):
    """Run tests one after the other, on one machine as long as it is fit: name -> outcome."""
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    plan = Plan(tests=("*",), seconds=60, slow={"spins": 5})
    trial = Trial(builder, load_stack("selftests"), disk, plan, tmp_path)
    return lambda *tests: {outcome.test: outcome for outcome in trial.run(tests)}


def test_what_a_test_says_arrives(run):
    outcomes = run("good", "skips", "asserts", "trusts")
    assert {test: outcome.verdict.kind for test, outcome in outcomes.items()} == {
        "good": Kind.OK,
        "skips": Kind.FAILED,
        "asserts": Kind.FAILED,
        "trusts": Kind.OK,
    }
    assert "no need" in outcomes["skips"].verdict.why
    assert outcomes["asserts"].verdict.why == "exit status 254: here.c:1: false"
    assert "here.c:1" in outcomes["asserts"].log.read_text()


@pytest.mark.parametrize(
    ("test", "why"),
    [
        ("spins", "not done after 5 s"),
        ("warns", "the kernel warned of a bug: .*x86.c:1"),
        ("panics", "the kernel panicked: .*sysrq"),
    ],
)
def test_what_harms_its_machine_has_failed_and_the_next_gets_a_new_one(run, test, why):
    outcomes = run("clean", test, "clean")
    assert outcomes[test].verdict.kind is Kind.FAILED
    assert re.search(why, outcomes[test].verdict.why)
    assert outcomes["clean"].verdict.kind is Kind.OK
