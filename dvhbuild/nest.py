# SPDX-License-Identifier: GPL-2.0-or-later
"""Levels on a machine: each Linux with its log and its agent, reached through the agent of the level below."""

from __future__ import annotations

import json
import shutil
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from dvhbuild import guests
from dvhbuild.agent import Agent
from dvhbuild.channel import Channel
from dvhbuild.console import Log, StampedFile
from dvhbuild.errors import GuestError, HostError
from dvhbuild.hub import LAST_WORDS, Hub
from dvhbuild.machine import Machine
from dvhbuild.settings import Settings
from dvhbuild.stack import Stack
from dvhbuild.steps import step
from dvhbuild.uplink import AgentState

L0_SECONDS = 180.0
GUEST_SECONDS = 600.0
"""Wall-clock limits for a boot; what ends a boot that went wrong sooner is its log, or the emulator's end."""

QEMU_LAST_WORDS = 5.0
"""Seconds for a guest's last words, and for its QEMU's, to reach us: a call trace takes a while through L0's line."""

SAVE_TRIES = 3
RESUME = "resume.json"


class LevelState(TypedDict):
    """A level in a saved machine."""

    agent: AgentState


@dataclass(frozen=True)
class Linux:
    """A Linux that answers: its level, its log and its agent; `qemu` is the process, a level below, that it runs in."""

    number: int
    log: Log
    agent: Agent
    qemu: Channel | None = None


@dataclass
class Nest:
    """The levels of a machine, L0 first."""

    machine: Machine
    stack: Stack
    settings: Settings
    levels: list[Linux] = field(default_factory=list)
    _prepared: set[int] = field(default_factory=set, init=False)

    @property
    def top(self) -> Linux:
        return self.levels[-1]

    def boot(self, number: int) -> None:
        """Boot levels until `number` answers."""
        for level in range(len(self.levels), number + 1):
            title = f"boot L{level}"
            with step(self.settings.reporter, title, self._log_path(level)):
                self.levels.append(self._boot_machine() if level == 0 else self._boot_guest(level))
                self._set_parameters()
                for command in self.stack.levels[level].setup:
                    self.top.agent.check(command)
                if 0 < level < len(self.stack.levels) - 1:
                    self.top.agent.check(guests.READ)  # a state that is saved then has it in memory

    def prepare(self, number: int) -> None:
        """Let the level below get ready to start guest `number`, once."""
        if number in self._prepared:
            return
        for command in self.stack.levels[number].host:
            self.levels[number - 1].agent.check(command)
        self._prepared.add(number)

    def save(self, directory: Path) -> None:
        """Save the machine and all that it takes to go on from here, as `directory`.

        Raises HostError if a console does not stop to talk: what it said meanwhile would be missed on the other side.
        """
        for _ in range(SAVE_TRIES):
            states = self._states()
            self.machine.save(directory)
            if _heard_from_consoles(self._states()) == _heard_from_consoles(states):
                (directory / RESUME).write_text(json.dumps(states))
                return
            shutil.rmtree(directory)
        raise HostError("the machine cannot be saved: its consoles do not fall silent")

    def _states(self) -> list[LevelState]:
        """What the agents say of their channels; the highest first, as its bytes are the lower ones' bytes."""
        return [LevelState(agent=linux.agent.state(30.0)) for linux in reversed(self.levels)][::-1]

    def resume(self, directory: Path) -> None:
        """Take up the levels of a machine that was restored from `directory`."""
        states: list[LevelState] = json.loads((directory / RESUME).read_text())
        for number, state in enumerate(states):
            below = self.levels[-1] if number else None
            sockets = guests.Sockets(number)
            console = below.agent.take(sockets.log) if below else self.machine.console
            uplink = below.agent.take(sockets.agent) if below else self.machine.uplink
            qemu = below.agent.take(f"l{number}") if below else None
            if below and qemu:
                watch_guest(self.machine.hub, below.agent, qemu, number)
            log = Log(self.machine.hub, console, self._log_path(number), level=number)
            agent = Agent(
                self.machine.hub, uplink, level=number, log=log, record=self._record(number), state=state["agent"]
            )
            agent.wait_ready(60.0)
            self.levels.append(Linux(number, log, agent, qemu))
            self._prepared.add(number)

    def pid(self, number: int) -> int:
        """The process, one level below, of guest `number`."""
        return int(self.levels[number - 1].agent.check(f"cat {guests.Sockets(number).pid}"))

    def _set_parameters(self) -> None:
        """Set the parameters of the highest level's kernel; raises GuestError if it has no such one, or refuses it."""
        linux = self.top
        for name, value in self.stack.levels[linux.number].parameters.items():
            path = f"/sys/module/{name.replace('.', '/parameters/')}"
            done = linux.agent.run(f"test -e {path} && echo {value} > {path}")
            if done.status:
                why = done.text.strip().rpartition(": ")[2] or "its kernel has no such parameter"
                raise GuestError(
                    f"L{linux.number}: cannot set {name} to {value}: {why}",
                    level=linux.number,
                    remedy=f"see levels and configs of the stack {self.stack.name}, or build another kernel",
                    log=linux.log.path,
                )

    def _boot_machine(self) -> Linux:
        hub = self.machine.hub
        log = Log(hub, self.machine.console, self._log_path(0), level=0)
        agent = Agent(hub, self.machine.uplink, level=0, log=log, record=self._record(0))
        agent.wait_ready(L0_SECONDS)
        return Linux(0, log, agent)

    def _boot_guest(self, number: int) -> Linux:
        below, hub, sockets = self.top.agent, self.machine.hub, guests.Sockets(number)
        self.prepare(number)
        qemu = below.start(guests.linux(number, self.stack.levels[number]), label=f"l{number}")
        watch_guest(hub, below, qemu, number)
        with _qemu_may_tell_why(hub):
            log = Log(hub, below.connect(sockets.log, timeout=60.0), self._log_path(number), level=number)
            uplink = below.connect(sockets.agent, timeout=60.0)
            agent = Agent(hub, uplink, level=number, log=log, record=self._record(number))
            agent.wait_ready(GUEST_SECONDS)
        below.check(guests.pin(number, self.stack.levels[number - 1].cpus))
        return Linux(number, log, agent, qemu)

    def _record(self, number: int) -> StampedFile:
        return StampedFile(self.machine.directory / f"l{number}.commands", lambda: self.machine.hub.now)

    def _log_path(self, number: int) -> Path:
        return self.machine.directory / f"l{number}.log"


def _heard_from_consoles(states: list[LevelState]) -> list[int]:
    channels = [channel for state in states for channel in state["agent"]["channels"]]
    return [channel["received"] for channel in channels if channel["label"].endswith(".log")]


@contextmanager
def _qemu_may_tell_why(hub: Hub) -> Iterator[None]:
    """A guest that is gone may be so because its QEMU ended: that comes a moment later, and is the better error."""
    try:
        yield
    except GuestError:
        with suppress(GuestError):
            hub.wait(lambda: hub.failure, QEMU_LAST_WORDS, "the end of QEMU", level=0)
        hub.raise_failure()
        raise


def watch_guest(hub: Hub, below: Agent, qemu: Channel, number: int) -> None:
    """Make the end of a guest's QEMU a failure of the machine, with what QEMU said, unless a log tells a better one."""
    said: deque[str] = deque(maxlen=20)

    def ended(reason: str) -> None:
        tail = tuple("".join(said).splitlines()[-20:])
        last = f": {tail[-1]}" if tail else ""
        error = GuestError(f"L{number}: its QEMU {reason}{last}", level=number, tail=tail)
        tell(error, hub.now + QEMU_LAST_WORDS)

    def tell(error: GuestError, deadline: float) -> None:
        talking = any(channel.name == guests.Sockets(number).log for channel in below.channels())
        if talking and hub.now < deadline:
            hub.later(LAST_WORDS, lambda: tell(error, deadline))
        else:
            hub.died(error)

    qemu.attach(lambda data: said.append(data.decode(errors="replace")), ended)
