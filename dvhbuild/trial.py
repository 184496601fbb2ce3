# SPDX-License-Identifier: GPL-2.0-or-later
"""The kernel's KVM selftests, run in L0 alone on machines side by side."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue

from dvhbuild.build import Builder
from dvhbuild.errors import GuestError
from dvhbuild.ksft import Kind, Verdict, judge
from dvhbuild.lab import StateRecipe, bring_up
from dvhbuild.nest import Nest
from dvhbuild.selftests import Outcome, Plan, expected, tail
from dvhbuild.stack import Stack
from dvhbuild.store import Entry

MACHINES = 4
"""At most so many machines at once: each takes as much of the host's memory as it has itself."""
PING_EVERY = 15.0
"""Seconds between two questions whether L0 lives, while a test says nothing for minutes."""
PING_SECONDS = 600.0
"""Long, as the host may stand still; an L0 that hangs in a loop is noticed by the machine itself, before."""
SPLAT_SECONDS = 20.0
"""Within which a kernel's report of a bug is complete."""

TESTS = "/dvh"
"""Where L0 has the disk with the tests."""

_TRUST_TSC = "until grep -qx tsc /sys/devices/system/clocksource/clocksource0/current_clocksource; do sleep 1; done"
"""Linux does a second or so after boot; some tests skip before that."""


@dataclass(frozen=True)
class Trial:
    """Where and how tests run: on L0 of `stack`, with `disk` in place of the guests' files; logs in `directory`."""

    builder: Builder
    stack: Stack
    disk: Entry
    plan: Plan
    directory: Path
    fresh: bool = False

    def run(self, tests: Sequence[str]) -> Iterator[Outcome]:
        """Run `tests`, in this order, on as many machines as there are CPUs; an outcome comes as soon as it is there.

        A test that harms its machine has failed, and the next one gets a new machine. Raises what ends all of them.
        """
        if not self.fresh:
            self.builder.store.obtain(StateRecipe(self.builder, self.stack, 0, self.disk))  # once, for all
        count = min(MACHINES, os.cpu_count() or 1, len(tests))
        todo: SimpleQueue[str] = SimpleQueue()
        done: SimpleQueue[Outcome | BaseException | None] = SimpleQueue()
        for test in tests:
            todo.put(test)
        with ThreadPoolExecutor(count) as pool:
            for number in range(count):
                pool.submit(self._work, number, todo, done)
            try:
                while count:
                    match done.get():
                        case None:
                            count -= 1
                        case BaseException() as error:
                            raise error
                        case outcome:
                            yield outcome
            finally:
                if count:
                    self.builder.settings.cancelled.set()

    def _work(self, number: int, todo: SimpleQueue[str], done: SimpleQueue[Outcome | BaseException | None]) -> None:
        """Run tests until there are none left, on one machine after the other."""
        try:
            machines = 0
            while not todo.empty():
                directory = self.directory / f"machine-{number}-{machines}"
                machines += 1
                self._use_up_machine(directory, todo, done)
            done.put(None)
        except BaseException as error:  # noqa: BLE001 - raised again by `run`
            done.put(error)

    def _use_up_machine(
        self, directory: Path, todo: SimpleQueue[str], done: SimpleQueue[Outcome | BaseException | None]
    ) -> None:
        with (
            bring_up(self.builder, self.stack, 0, directory, fresh=self.fresh, disk=self.disk) as nest,
            suppress(Empty),
        ):
            nest.top.agent.check(_TRUST_TSC)
            well = True
            while well:
                outcome, well = run_test(nest, todo.get_nowait(), self.plan, self.directory)
                done.put(outcome)


def run_test(nest: Nest, test: str, plan: Plan, directory: Path, place: str = TESTS) -> tuple[Outcome, bool]:
    """Run one test in L0, which has it in `place`; returns its outcome, and whether the machine is fit for another."""
    log = directory / f"{test}.log"
    output = bytearray()
    begin = time.monotonic()
    try:
        status = _finish(nest, f"cd /tmp && exec {place}/{test}", plan.limit(test), output)
        _raise_splat(nest)
    except GuestError as error:
        log.write_bytes(output)
        seconds = time.monotonic() - begin
        verdict, lines = Verdict(Kind.FAILED, error.message), error.tail or tail(output)
        return Outcome(test, verdict, good=False, seconds=seconds, tail=lines, log=error.log or log), False
    log.write_bytes(output)
    text = output.decode(errors="replace")
    verdict, good = expected(test, judge(status, text), text, plan)
    return Outcome(test, verdict, good, time.monotonic() - begin, tail(output), log), True


def _finish(nest: Nest, command: str, seconds: float, output: bytearray) -> int:
    """Run `command` to its end; its output is there even if that does not come. Returns its status.

    A test may compute for minutes without a word; that L0 still answers tells it from a machine that hangs.
    """
    agent, hub = nest.top.agent, nest.machine.hub
    channel = agent.start(command)
    channel.attach(output.extend, lambda _reason: None)
    spent = 0.0
    while not channel.over and spent < seconds:
        begin = time.monotonic()
        agent.ping(PING_SECONDS)
        until = time.monotonic() + min(PING_EVERY, seconds - spent)
        hub.wait(lambda: channel.over or time.monotonic() >= until or None, PING_SECONDS, "the test", level=0)  # noqa: B023
        # More than this, and it was the host that stood still.
        spent += min(time.monotonic() - begin, 2 * PING_EVERY)
    if not channel.over:
        raise GuestError(f"not done after {seconds:g} s", level=0)
    return agent.wait_exit(channel, 1.0)


def _raise_splat(nest: Nest) -> None:
    """Raise what the kernel said of a bug in the meantime, once it has said it all."""
    linux = nest.top
    linux.agent.ping(PING_SECONDS)
    if finding := linux.log.matcher.finding:
        nest.machine.hub.wait(lambda: None, SPLAT_SECONDS, f"the end of: {finding.line}", level=0)
