# SPDX-License-Identifier: GPL-2.0-or-later
"""A level's agent (`guest/agent`), seen from here: commands, terminals and sockets in the guest over one byte stream.

A socket in a guest is a Transport, so the agent of a nested guest is reached through the agent of the level below it:
to any depth.
"""

from __future__ import annotations

import gzip
import signal
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from dvhbuild.channel import WINDOW, Channel, Kind
from dvhbuild.console import TAIL, Log, StampedFile
from dvhbuild.errors import GuestError, HostError, UserError
from dvhbuild.frames import MAX_PAYLOAD, Frame, Type
from dvhbuild.hub import Deadline, Hub
from dvhbuild.lines import Transport
from dvhbuild.uplink import AgentState, Hello, Uplink

T = TypeVar("T")

KILL_SECONDS = 5.0
"""Seconds for a killed command to be gone."""
LAST_WORDS = 3.0
"""Seconds for the console of a level whose agent is gone to say why."""


@dataclass(frozen=True)
class Result:
    """What a command printed (standard output and error, as they came) and how it ended, by the shell's convention."""

    output: bytes
    status: int

    @property
    def text(self) -> str:
        return self.output.decode(errors="replace")


class Agent:
    """The agent of `level`, on `transport`; `log` is the level's console, for the last lines in errors.

    A new machine's agent says HELLO by itself. With `state`, the agent is one that ran before (a restored machine; an
    empty state: any agent): it is told to close all channels but those, which `take` returns.
    """

    def __init__(
        self,
        hub: Hub,
        transport: Transport,
        *,
        level: int,
        log: Log | None = None,
        record: StampedFile | None = None,
        state: AgentState | None = None,
    ) -> None:
        self.level = level
        self._hub = hub
        self._log = log
        self._record = record
        self._pings = 0
        self._uplink = Uplink(hub, transport, level, state)

    def wait_ready(self, limit: float | Deadline) -> Hello:
        """Wait for HELLO; raises GuestError if something went wrong at the agent's start."""
        hello = self._wait(lambda: self._uplink.hello, limit, "the agent's first word")
        if hello.problems:
            raise self._error("; ".join(hello.problems))
        return hello

    def run(self, command: str, *, timeout: float | Deadline = 60.0, stdin: bytes = b"") -> Result:
        """Run `command` by the guest's shell; return what it printed and its status, whatever that is.

        Raises GuestError, and kills the command, if it is not done in time. A process that it leaves behind in the
        background lives on.
        """
        return self._run(command, timeout, stdin, command, lambda result: result)

    def check(self, command: str, *, timeout: float | Deadline = 60.0, stdin: bytes = b"") -> str:
        """Like `run`, for what must succeed: return its output, less the last newline, or raise GuestError."""
        return self._must(command, self.run(command, timeout=timeout, stdin=stdin)).text.rstrip("\n")

    def fetch(self, command: str, *, timeout: float | Deadline = 60.0) -> bytes:
        """Like `check`, for output of many kilobytes, all of which is returned: the guest packs it.

        A serial line of the emulated machine takes 11,520 bytes in a second of its devices' time.
        """
        packing = f"{{ ( {command}\n); printf '\\n%d' $?; }} 2>&1 | gzip -1"
        return self._must(command, self._run(packing, timeout, b"", command, _unpacked)).output

    def start(self, command: str, *, label: str | None = None, with_input: bool = False) -> Channel:
        """Start `command` and return its channel: its output (and input), then its `exit`."""
        payload = struct.pack("<IB", WINDOW, with_input) + command.encode()
        return self._start(Kind.EXEC, Type.EXEC, payload, label or command)

    def wait_exit(self, channel: Channel, limit: float | Deadline) -> int:
        """Wait for the end of what `start` or `shell` began; return its status (128 + signal)."""
        return self._exit(channel, limit, f"{_short(channel.name)}: its end", b"")

    def stop(self, channel: Channel, *, grace: float = 3.0) -> None:
        """End a process: SIGTERM, after `grace` seconds SIGKILL; return when it is gone."""
        for sign, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, KILL_SECONDS)):
            channel.kill(sign)
            try:
                self.wait_exit(channel, seconds)
            except GuestError:
                if sign == signal.SIGKILL or self._uplink.gone or self._hub.failure:
                    raise
            else:
                return

    def shell(self, rows: int, columns: int, *, term: str = "dumb") -> Channel:
        """Start a shell on a terminal of its own."""
        payload = struct.pack("<IHH", WINDOW, rows, columns) + f"{term}\0".encode()
        return self._start(Kind.PTY, Type.PTY, payload, "shell")

    def connect(self, path: str, *, timeout: float | Deadline = 10.0, label: str | None = None) -> Channel:
        """Connect to the guest's unix socket `path`, which may yet have to appear; raises GuestError if it does not."""
        deadline = Deadline.of(timeout)
        milliseconds = min(int(deadline.left * 1000), 0xFFFFFFFF)
        payload = struct.pack("<II", WINDOW, milliseconds) + path.encode()
        channel = self._start(Kind.CONNECT, Type.CONNECT, payload, label or path)
        what = f"a connection to {path}"
        # The agent counts guest time and gives up by itself; the extra seconds are for its answer.
        self._wait(lambda: channel.opened or channel.over or None, deadline.left + KILL_SECONDS, what)
        if not channel.opened:
            raise self._error(f"{path}: {channel.closed}")
        return channel

    def ping(self, limit: float | Deadline) -> float:
        """Wait for the agent's answer; return the guest's own time since its boot, in seconds."""
        with self._hub.lock:
            self._pings += 1
            token = self._pings
        self._uplink.send(Frame(Type.PING, 0, token.to_bytes(8, "little")))
        return self._wait(lambda: self._uplink.pongs.pop(token, None), limit, "an answer to a ping")

    def channels(self) -> tuple[Channel, ...]:
        """Return the open channels."""
        with self._hub.lock:
            return tuple(self._uplink.channels.values())

    def take(self, label: str) -> Channel:
        """Return the open channel of that label; raises HostError if there is none."""
        for channel in self.channels():
            if channel.name == label:
                return channel
        raise HostError(f"L{self.level} has no open channel {label!r}")

    def state(self, limit: float | Deadline) -> AgentState:
        """Return what a later Agent needs to take up the open channels; only while nothing is going on in them.

        Ask the highest level first: its bytes are the lower ones' bytes. Raises HostError while bytes are on their way.
        """
        self.ping(limit)
        with self._hub.lock:
            if not self._uplink.quiescent:
                raise HostError(f"L{self.level}: cannot be saved in the middle of a frame")
            return AgentState(channels=[channel.state() for channel in self._uplink.channels.values()])

    def _run(
        self, line: str, limit: float | Deadline, stdin: bytes, command: str, result_of: Callable[[Result], Result]
    ) -> Result:
        deadline = Deadline.of(limit)
        channel = self.start(line, label=command, with_input=bool(stdin))
        output = bytearray()
        result: Result | None = None
        begin = time.monotonic()
        channel.attach(output.extend, lambda _reason: None)
        try:
            if stdin:
                channel.write(stdin)
                channel.eof()
            status = self._exit(channel, deadline, f"{_short(command)}: its end", output)
            result = result_of(Result(bytes(output), status))
        finally:
            channel.close()
            self._note(command, result, bytes(output), time.monotonic() - begin)
        return result

    def _must(self, command: str, result: Result) -> Result:
        if result.status:
            lines = _last_lines(result.output)
            last = f": {lines[-1]}" if lines else ""
            raise self._error(f"{_short(command)}: failed ({result.status}){last}", lines)
        return result

    def _start(self, kind: Kind, request: Type, payload: bytes, label: str) -> Channel:
        self._hub.raise_failure()
        if self._uplink.gone is not None:
            raise self._bereaved(f"cannot be reached: {self._uplink.gone}")
        if self._uplink.hello is None:
            raise HostError(f"L{self.level}: {_short(label)}: the agent is not there yet", remedy="wait_ready() first")
        if len(payload) > MAX_PAYLOAD:
            raise UserError(f"{_short(label)}: too long for one frame", remedy="put it in a file, or on standard input")
        return self._uplink.open(kind, request, payload, label)

    def _exit(self, channel: Channel, limit: float | Deadline, what: str, output: bytes | bytearray) -> int:
        self._wait(lambda: channel.over or None, limit, what, output)
        if channel.exit is None:
            message = f"{_short(channel.name)}: {channel.closed or 'given up'}"
            raise self._bereaved(message) if self._uplink.gone is not None else self._error(message)
        return channel.exit.status

    def _wait(
        self, ready: Callable[[], T | None], limit: float | Deadline, what: str, output: bytes | bytearray = b""
    ) -> T:
        def ready_or_gone() -> tuple[T | None] | None:
            value = ready()
            return None if value is None and self._uplink.gone is None else (value,)

        try:
            (value,) = self._hub.wait(ready_or_gone, limit, what, level=self.level)
        except GuestError as error:
            if error.tail or error.level != self.level:
                raise
            lines = _last_lines(bytes(output)) or (self._log.tail() if self._log else ())
            log = error.log or self._path
            raise GuestError(error.message, level=self.level, tail=lines, log=log) from error.__cause__
        if value is None:
            raise self._bereaved(f"{what}: the level is gone: {self._uplink.gone}")
        return value

    def _bereaved(self, message: str) -> GuestError:
        """Return the error for an agent that is gone; raises a better one if the level's console comes to tell why."""

        def told() -> object:
            return self._hub.failure or (self._log.closed if self._log else "no log")

        with suppress(GuestError):
            self._hub.wait(told, LAST_WORDS, "why", level=self.level)
        self._hub.raise_failure()
        return self._error(message)

    @property
    def _path(self) -> Path | None:
        return self._log.path if self._log else None

    def _error(self, message: str, tail: tuple[str, ...] | None = None) -> GuestError:
        lines = tail if tail is not None else (self._log.tail() if self._log else ())
        return GuestError(f"L{self.level}: {message}", level=self.level, tail=lines, log=self._path)

    def _note(self, command: str, result: Result | None, output: bytes, seconds: float) -> None:
        if self._record is None:
            return
        said = result.output if result else output
        newline = b"" if not said or said.endswith(b"\n") else b"\n"
        end = f"status {result.status}" if result else "not done"
        with self._hub.lock:
            self._record.write(f"$ {command}\n".encode() + said + newline + f"-> {end}, {seconds:.3f} s\n".encode())


def _unpacked(result: Result) -> Result:
    """What a command printed and its status, of what `fetch` has made of them; of what is no gzip, nothing is made."""
    try:
        output, _newline, status = gzip.decompress(result.output).rpartition(b"\n")
        return Result(output, int(status))
    except (ValueError, OSError, EOFError):
        return Result(result.output, result.status or 1)


def _short(command: str) -> str:
    first = command.strip().split("\n", 1)[0]
    return first if len(first) <= 80 and first == command.strip() else f"{first[:77]}..."


def _last_lines(output: bytes) -> tuple[str, ...]:
    return tuple(line for line in output.decode(errors="replace").splitlines() if line.strip())[-TAIL:]
