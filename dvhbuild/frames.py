# SPDX-License-Identifier: GPL-2.0-or-later
"""The frames that the host and an agent (`guest/agent`) exchange on an uplink: bytes to frames and back, no more.

    d5 76 | seq:1 | type:1 | channel:2 | length:2 | check:1 | payload[length] | crc:2        (little endian)

`seq` counts the frames of one direction, so that a lost frame is noticed. The CRC (CCITT, from 0xffff) runs from `seq`
to the end of the payload, without `check`, which is its low byte after `length`: a damaged length is found at once, not
after waiting for bytes that never come.

A channel is opened by the host with EXEC, PTY or CONNECT and ends with EXIT or CLOSE from the agent. Each side sends
DATA only within the credit that the other has granted: the host in its opening frame and with WINDOW, the agent
INPUT_WINDOW bytes at first and then with WINDOW.
"""

from __future__ import annotations

import struct
from binascii import crc_hqx
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from dvhbuild.errors import HostError

MAGIC = b"\xd5\x76"
MAX_PAYLOAD = 4096
INPUT_WINDOW = 8192
"""Bytes that the host may send on a new channel before it gets a WINDOW."""
PROTOCOL_VERSION = 1

_HEADER = struct.Struct("<BBHH")
_HEADER_SIZE = len(MAGIC) + _HEADER.size + 1


class Type(IntEnum):
    """What a frame says; the payload, and who sends it."""

    EXEC = 1  # host: window:4, with_input:1, command
    PTY = 2  # host: window:4, rows:2, columns:2, TERM, 0, command (none: a shell)
    CONNECT = 3  # host: window:4, milliseconds:4, path of a unix socket
    RESIZE = 4  # host: rows:2, columns:2
    KILL = 5  # host: signal:1
    RESET = 6  # host: the channels (2 bytes each) to keep; all others are closed; answered by HELLO
    PING = 7  # host: token:8
    DATA = 16  # both
    WINDOW = 17  # both: bytes:4 that may be sent besides
    EOF = 18  # host: no more input
    CLOSE = 19  # host: give it up; agent: it is closed, and why
    HELLO = 32  # agent: version:2, n:2, n times (channel:2, sent:4, received:4), lines: release, name, problems
    OPENED = 33  # agent: the socket is connected
    EXIT = 34  # agent: by_signal:1, status or signal:1
    PONG = 35  # agent: token:8, CLOCK_MONOTONIC of the guest in ns:8
    ERROR = 36  # agent: something on the line is wrong, and what


@dataclass(frozen=True)
class Frame:
    """One message on `channel` (0: about the line itself)."""

    type: Type
    channel: int = 0
    payload: bytes = b""


class Encoder:
    """Makes bytes of frames; `seq` is the number of the next one."""

    def __init__(self, seq: int = 0) -> None:
        self.seq = seq

    def encode(self, frame: Frame) -> bytes:
        """Raises HostError if the payload is too long."""
        if len(frame.payload) > MAX_PAYLOAD:
            raise HostError(f"a frame of {len(frame.payload)} bytes: at most {MAX_PAYLOAD} fit")
        header = _HEADER.pack(self.seq, frame.type, frame.channel, len(frame.payload))
        self.seq = (self.seq + 1) & 0xFF
        crc = crc_hqx(header, 0xFFFF)
        whole = crc_hqx(frame.payload, crc)
        return b"".join((MAGIC, header, bytes((crc & 0xFF,)), frame.payload, whole.to_bytes(2, "little")))


class Decoder:
    """Makes frames of bytes, however these are split, and says what was wrong between them.

    `garbage` counts the bytes that belonged to no frame, `missing` the frames that were skipped. `seq` is the number of
    the next frame, None if any will do.
    """

    def __init__(self, seq: int | None = None) -> None:
        self.seq = seq
        self.garbage = 0
        self.missing = 0
        self._buffer = bytearray()

    @property
    def partial(self) -> bool:
        """Whether a frame has begun and not ended."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that `data` completes; `garbage` and `missing` are then those before the frame yielded."""
        self._buffer += data
        while self._buffer and (size := self._size()):
            if size > 0:
                yield self._take(size)
            else:
                self._skip()

    def _size(self) -> int:
        """Return the size of the frame that the buffer begins with, 0 if it is incomplete, -1 if there is none."""
        buffer = self._buffer
        if not MAGIC.startswith(buffer[:2]):
            return -1
        if len(buffer) < _HEADER_SIZE:
            return 0
        header = buffer[2:8]
        length: int = _HEADER.unpack(header)[3]
        crc = crc_hqx(header, 0xFFFF)
        if length > MAX_PAYLOAD or buffer[8] != crc & 0xFF:
            return -1
        end = _HEADER_SIZE + length
        if len(buffer) < end + 2:
            return 0
        whole = crc_hqx(buffer[_HEADER_SIZE:end], crc)
        return end + 2 if whole == int.from_bytes(buffer[end : end + 2], "little") else -1

    def _skip(self) -> None:
        """Drop what can begin no frame."""
        following = self._buffer.find(MAGIC[:1], 1)
        skipped = following if following > 0 else len(self._buffer)
        self.garbage += skipped
        del self._buffer[:skipped]

    def _take(self, size: int) -> Frame:
        seq, kind, channel, _length = _HEADER.unpack(self._buffer[2:8])
        payload = bytes(self._buffer[_HEADER_SIZE : size - 2])
        del self._buffer[:size]
        if self.seq is not None and kind != Type.HELLO:
            self.missing += (seq - self.seq) & 0xFF
        self.seq = (seq + 1) & 0xFF
        try:
            return Frame(Type(kind), channel, payload)
        except ValueError:
            return Frame(Type.ERROR, 0, b"a frame of unknown type %d" % kind)
