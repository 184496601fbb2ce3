# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's qtests, run on this machine, some side by side; `qtests.toml` says which, and what is known of them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from dvhbuild.errors import HostError
from dvhbuild.ksft import Kind, Verdict, judge
from dvhbuild.process import running
from dvhbuild.recipes.qtests import BINARY, DATA
from dvhbuild.selftests import Outcome, Plan, expected, tail
from dvhbuild.settings import Settings

LIST = Path(__file__).with_name("qtests.toml")

POLL = 0.1
"""Seconds between two looks whether a test is done, or all of them are to end."""

SANITIZERS = {
    "ASAN_OPTIONS": "detect_leaks=0",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
}
"""A finding ends QEMU, and thereby the test. Leaks do not count: QEMU leaves much to the end of the process."""


def run(
    built: Path,
    tests: Sequence[str],
    plan: Plan,
    directory: Path,
    settings: Settings,
    others: Mapping[str, Callable[[], Outcome]] | None = None,
) -> Iterator[Outcome]:
    """Run `tests` of those `built`, as many at once as there are CPUs; logs and leftovers go to `directory`.

    Those of `others` are run by what is there. An outcome comes as soon as it is there. Raises HostError if there is no
    running of tests at all.
    """

    def run_one(test: str) -> Outcome:
        other = others.get(test) if others else None
        return other() if other else run_test(built, test, plan, directory, settings)

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        work = [pool.submit(run_one, test) for test in tests]
        try:
            for future in as_completed(work):
                yield future.result()
        finally:
            settings.cancelled.set()
            pool.shutdown(cancel_futures=True)


def run_test(built: Path, test: str, plan: Plan, directory: Path, settings: Settings) -> Outcome:
    """Run one test to its end, or to the end of its time, in a directory of its own."""
    place, log = directory / test, directory / f"{test}.log"
    for part in DATA:
        (place / part).parent.mkdir(parents=True)
        (place / part).symlink_to(built / part)
    env = {"QTEST_QEMU_BINARY": str(built / BINARY), **SANITIZERS}
    begin = time.monotonic()
    with log.open("wb") as out:
        argv: list[str | Path] = [built / "bin" / test, "--tap", "-k"]
        with running(argv, reporter=settings.reporter, cwd=place, env=env, stdout=out) as process:
            while process.poll() is None:
                if settings.cancelled.wait(POLL):
                    raise HostError(f"{test}: cancelled")
                if time.monotonic() - begin > plan.limit(test):
                    break
            status = process.poll()
    seconds = time.monotonic() - begin
    output = log.read_bytes()
    if status is None:
        verdict, good = Verdict(Kind.FAILED, f"not done after {plan.limit(test):g} s"), False
    else:
        text = output.decode(errors="replace")
        verdict, good = expected(test, judge(status if status >= 0 else 128 - status, text), text, plan)
    return Outcome(test, verdict, good, seconds, tail(output), log)
