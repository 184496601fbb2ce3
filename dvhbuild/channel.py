# SPDX-License-Identifier: GPL-2.0-or-later
"""One channel through an agent: a process, a terminal or a socket in a guest, as a byte stream of ours."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypedDict

from dvhbuild.errors import HostError
from dvhbuild.frames import INPUT_WINDOW, Frame, Type
from dvhbuild.hub import Hub
from dvhbuild.lines import OnClose, OnData

WINDOW = 1 << 18
"""Bytes that an agent may send on a channel before we say that we have taken them."""
CHUNK = 1000
"""Bytes in one DATA frame of ours."""


class Kind(StrEnum):
    """What is at the other end."""

    EXEC = "exec"
    PTY = "pty"
    CONNECT = "connect"


class ChannelState(TypedDict):
    """A channel in a saved machine, as JSON: the counts of bytes (modulo 2^32) tell whether anything was lost."""

    id: int
    label: str
    kind: str
    sent: int
    received: int
    credit: int
    taken: int


@dataclass(frozen=True)
class Exit:
    """How a process ended: its status, or the signal that ended it."""

    status: int
    signal: int | None = None


class Channel:
    """A Transport; its end is `exit` (a process, a terminal) or `closed` (why; a socket, or what failed to start).

    Made by an Agent. What arrives before `attach` waits, and its sender with it.
    """

    def __init__(self, hub: Hub, send: Callable[[Frame], None], channel: int, kind: Kind, label: str) -> None:
        self.id = channel
        self.kind = kind
        self.name = label
        self.opened = False
        self.exit: Exit | None = None
        self.closed: str | None = None
        self._hub = hub
        self._send = send
        self._sent = 0
        self._received = 0
        self._credit = INPUT_WINDOW
        self._taken = 0
        self._unsent = bytearray()
        self._unread = bytearray()
        self._eof = False
        self._on_data: OnData | None = None
        self._on_close: OnClose | None = None

    @property
    def over(self) -> bool:
        return self.exit is not None or self.closed is not None

    @property
    def quiescent(self) -> bool:
        return not (self._unsent or self._unread)

    def attach(self, on_data: OnData, on_close: OnClose) -> None:
        with self._hub.lock:
            self._on_data, self._on_close = on_data, on_close
            if self._unread:
                waiting = bytes(self._unread)
                self._unread.clear()
                self._take(waiting)
            if self.over:
                on_close(self._reason())

    def write(self, data: bytes) -> None:
        with self._hub.lock:
            if not self.over:
                self._unsent += data
                self._flush()

    def eof(self) -> None:
        """Say that no more will be written."""
        with self._hub.lock:
            self._eof = True
            self._flush()

    def kill(self, signal: int) -> None:
        """Send `signal` to the process's group."""
        self._tell(Type.KILL, bytes((signal,)))

    def resize(self, rows: int, columns: int) -> None:
        """Tell a terminal its new size."""
        self._tell(Type.RESIZE, struct.pack("<HH", rows, columns))

    def close(self) -> None:
        """Give the channel up: a process is killed, a socket closed. `closed` is set when the agent has done so."""
        self._tell(Type.CLOSE, b"")

    def state(self) -> ChannelState:
        """Return what `restore` needs; raises HostError while bytes are on their way."""
        if not self.quiescent:
            raise HostError(f"{self.name}: cannot be saved while bytes wait to be read or written")
        return ChannelState(
            id=self.id, label=self.name, kind=self.kind.value, sent=self._sent, received=self._received,
            credit=self._credit, taken=self._taken,
        )  # fmt: skip

    def restore(self, state: ChannelState) -> None:
        """Take up where `state` was taken."""
        self.opened = True
        self._sent, self._received = state["sent"], state["received"]
        self._credit, self._taken = state["credit"], state["taken"]

    def agrees(self, agent_sent: int, agent_received: int) -> bool:
        """Whether the agent's counts of bytes are ours."""
        return self._received & 0xFFFFFFFF == agent_sent and self._sent & 0xFFFFFFFF == agent_received

    def handle(self, frame: Frame) -> None:
        """Take a frame of this channel from the agent."""
        match frame.type:
            case Type.DATA:
                self._received += len(frame.payload)
                if self._on_data:
                    self._take(frame.payload)
                else:
                    self._unread += frame.payload
            case Type.WINDOW:
                self._credit += int.from_bytes(frame.payload, "little")
                self._flush()
            case Type.OPENED:
                self.opened = True
            case Type.EXIT:
                by_signal, value = frame.payload
                self._finish(Exit(128 + value, value) if by_signal else Exit(value), None)
            case Type.CLOSE:
                self._finish(None, frame.payload.decode(errors="replace"))
            case _:
                raise HostError(f"{self.name}: the agent sent {frame.type.name}")

    def lose(self, reason: str) -> None:
        """The agent is gone, and this channel with it."""
        if not self.over:
            self._finish(None, reason)

    def _finish(self, status: Exit | None, closed: str | None) -> None:
        self.exit, self.closed = status, closed
        self._unsent.clear()
        if self._on_close:
            self._on_close(self._reason())

    def _reason(self) -> str:
        if self.exit is None:
            return self.closed or "closed by the guest"
        return f"killed by signal {self.exit.signal}" if self.exit.signal else f"exited with status {self.exit.status}"

    def _tell(self, kind: Type, payload: bytes) -> None:
        with self._hub.lock:
            if not self.over:
                self._send(Frame(kind, self.id, payload))

    def _take(self, data: bytes) -> None:
        assert self._on_data is not None
        self._on_data(data)
        self._taken += len(data)
        if self._taken >= WINDOW // 2:
            self._tell(Type.WINDOW, self._taken.to_bytes(4, "little"))
            self._taken = 0

    def _flush(self) -> None:
        while self._unsent and self._credit:
            size = min(CHUNK, self._credit, len(self._unsent))
            self._send(Frame(Type.DATA, self.id, bytes(self._unsent[:size])))
            del self._unsent[:size]
            self._credit -= size
            self._sent += size
        if self._eof and not self._unsent and not self.over:
            self._eof = False
            self._send(Frame(Type.EOF, self.id))
