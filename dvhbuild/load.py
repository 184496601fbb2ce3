# SPDX-License-Identifier: GPL-2.0-or-later
"""A Linux guest that performs operations: guest/load, asked and heard as the probe is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from dvhbuild.agent import Agent
from dvhbuild.errors import GuestError
from dvhbuild.nest import Nest
from dvhbuild.probe import RUN_SECONDS, Outcome, parse


@dataclass(frozen=True)
class Load:
    """A Linux that waits for commands, as guest `level`; `below` is the agent of the hypervisor that it runs on."""

    level: int
    below: Agent
    _agent: Agent

    def run(self, operation: str, count: int, *options: str) -> Outcome:
        """Perform `operation` `count` times; raises GuestError if the guest cannot."""
        words = ("dvhload", operation.removeprefix("linux-"), str(count), *options)
        answer = self._agent.check(" ".join(words), timeout=RUN_SECONDS)
        try:
            return parse(answer)
        except ValueError as error:
            raise GuestError(f"L{self.level}: {error}", level=self.level, tail=tuple(answer.splitlines())) from error


@contextmanager
def start(nest: Nest, level: int) -> Iterator[Load]:
    """Linux as guest `level`, booted if it is not there yet, for as long as the body runs."""
    nest.boot(level)
    yield Load(level, nest.levels[level - 1].agent, nest.top.agent)
