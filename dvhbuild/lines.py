# SPDX-License-Identifier: GPL-2.0-or-later
"""Byte streams to a machine: pty pairs, sockets; what they carry is no matter here."""

from __future__ import annotations

import os
import selectors
import socket
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from dvhbuild.errors import HostError
from dvhbuild.hub import Deadline, Hub

OnData = Callable[[bytes], None]
OnClose = Callable[[str], None]

READ_SIZE = 1 << 16


class Transport(Protocol):
    """A byte stream both ways: a line of the machine, or a channel through an agent."""

    name: str

    def attach(self, on_data: OnData, on_close: OnClose) -> None:
        """Have what arrives, and arrived before, delivered, under the hub's lock; `on_close` gets the reason, last."""

    def write(self, data: bytes) -> None:
        """Send `data`, now or as soon as the other side takes it; never blocks."""

    def close(self) -> None: ...


class Line:
    """A descriptor as a Transport; it belongs to the line from now on. Read always, whether or not anybody listens."""

    def __init__(self, hub: Hub, fd: int, name: str) -> None:
        self.name = name
        self.received = 0
        """Bytes that have come so far: a sign of life."""
        self._hub = hub
        self._fd = fd
        self._unread = bytearray()
        self._backlog = bytearray()
        self._on_data: OnData = self._unread.extend
        self._on_close: OnClose | None = None
        self._closed: str | None = None
        self._writing = False
        os.set_blocking(fd, False)
        hub.watch(fd, self._ready)

    def attach(self, on_data: OnData, on_close: OnClose) -> None:
        with self._hub.lock:
            self._on_data, self._on_close = on_data, on_close
            if self._unread:
                on_data(bytes(self._unread))
                self._unread.clear()
            if self._closed is not None:
                on_close(self._closed)

    def write(self, data: bytes) -> None:
        with self._hub.lock:
            if self._closed is not None:
                return
            self._backlog += data
            self._flush()

    def close(self) -> None:
        with self._hub.lock:
            if self._fd >= 0:
                self._hub.unwatch(self._fd)
                os.close(self._fd)
                self._fd = -1
            if self._closed is None:
                self._closed = "closed by us"

    def _ready(self, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self._flush()
        if events & selectors.EVENT_READ and self._fd >= 0:
            try:
                data = os.read(self._fd, READ_SIZE)
            except BlockingIOError:
                return
            except OSError as error:
                self._end(os.strerror(error.errno or 0))
                return
            if data:
                self.received += len(data)
                self._on_data(data)
            else:
                self._end("closed by the other side")

    def _flush(self) -> None:
        try:
            while self._backlog and self._fd >= 0:
                del self._backlog[: os.write(self._fd, self._backlog)]
        except BlockingIOError:
            pass
        except OSError as error:
            self._end(os.strerror(error.errno or 0))
            return
        if self._fd >= 0 and self._writing != bool(self._backlog):
            self._writing = not self._writing
            more = selectors.EVENT_WRITE if self._writing else 0
            self._hub.watch(self._fd, self._ready, events=selectors.EVENT_READ | more)

    def _end(self, reason: str) -> None:
        self.close()
        self._closed = reason
        if self._on_close:
            self._on_close(reason)


class PtyLine(Line):
    """Our end of a pty pair; `path` is the other end, for an emulator to open.

    We keep that end open too: the line then outlives the emulator's opens and closes, and no read says EIO.
    """

    def __init__(self, hub: Hub, name: str) -> None:
        ours, self._theirs = os.openpty()
        tty.setraw(self._theirs)
        self.path = Path(os.ttyname(self._theirs))
        super().__init__(hub, ours, name)

    def close(self) -> None:
        super().close()
        if self._theirs >= 0:
            os.close(self._theirs)
            self._theirs = -1


def socket_line(hub: Hub, path: Path, limit: float | Deadline, name: str) -> Line:
    """Connect to the unix socket `path`, which an emulator is about to make; raises what any wait raises."""

    def connect() -> socket.socket | None:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            connection.connect(os.fspath(path))
        except (FileNotFoundError, ConnectionRefusedError):
            connection.close()
            return None
        except OSError as error:
            connection.close()
            raise HostError(f"{path}: {error.strerror}") from error
        return connection

    return Line(hub, hub.wait(connect, limit, f"the emulator's socket {path}", level=0).detach(), name)
