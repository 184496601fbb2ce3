# SPDX-License-Identifier: GPL-2.0-or-later
"""Our end of an uplink: which channels are open on it, what the agent says of itself, and that nothing was lost."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TypedDict

from dvhbuild.channel import Channel, ChannelState, Kind
from dvhbuild.errors import GuestError, HostError
from dvhbuild.frames import PROTOCOL_VERSION, Decoder, Encoder, Frame, Type
from dvhbuild.hub import Hub
from dvhbuild.lines import Transport

MAX_CHANNEL = 0xFFFF


@dataclass(frozen=True)
class Hello:
    """What an agent says of itself: the kernel's release, its own name (dvh.name=), what went wrong at its start."""

    release: str
    name: str
    problems: tuple[str, ...]


class AgentState(TypedDict):
    """The open channels of an agent in a saved machine, as JSON."""

    channels: list[ChannelState]


class Uplink:
    """Frames to and from the agent of `level`. A damaged line fails the hub: nothing on it can be trusted."""

    def __init__(self, hub: Hub, transport: Transport, level: int, state: AgentState | None) -> None:
        self.level = level
        self.hello: Hello | None = None
        self.gone: str | None = None
        """Why the agent cannot be reached any more."""
        self.channels: dict[int, Channel] = {}
        self.pongs: dict[int, float] = {}
        """The guest's time, in seconds, by the ping's token."""
        self._hub = hub
        self._transport = transport
        self._encoder = Encoder()
        self._decoder = Decoder()
        self._last = 0
        with hub.lock:
            if state is not None:
                self._restore(state)
            transport.attach(self._on_data, self._on_close)

    @property
    def quiescent(self) -> bool:
        return not self._decoder.partial

    def send(self, frame: Frame) -> None:
        with self._hub.lock:
            self._transport.write(self._encoder.encode(frame))

    def open(self, kind: Kind, request: Type, payload: bytes, label: str) -> Channel:
        """Ask for a new channel; the answer is for the caller to await."""
        with self._hub.lock:
            number = self._free_number()
            channel = Channel(self._hub, self.send, number, kind, label)
            self.channels[number] = channel
            if self.gone is not None:
                channel.lose(self.gone)
            self.send(Frame(request, number, payload))
        return channel

    def _free_number(self) -> int:
        for _ in range(MAX_CHANNEL):
            self._last = self._last % MAX_CHANNEL + 1
            if self._last not in self.channels:
                return self._last
        raise HostError(f"L{self.level}: no channel is free")

    def _restore(self, state: AgentState) -> None:
        for saved in state["channels"]:
            channel = Channel(self._hub, self.send, saved["id"], Kind(saved["kind"]), saved["label"])
            channel.restore(saved)
            self.channels[channel.id] = channel
            self._last = max(self._last, channel.id)
        kept = b"".join(number.to_bytes(2, "little") for number in self.channels)
        self.send(Frame(Type.RESET, 0, kept))

    def _on_data(self, data: bytes) -> None:
        for frame in self._decoder.feed(data):
            # Before HELLO, the rest of an old frame may still be on the line, or a firmware's noise.
            if self.hello is None and frame.type != Type.HELLO and frame.channel not in self.channels:
                continue
            if frame.type == Type.HELLO:
                self._greet(frame.payload)
                self._decoder.garbage = self._decoder.missing = 0
            elif frame.channel:
                self._to_channel(frame)
            else:
                self._about_line(frame)
        if self.hello and (self._decoder.garbage or self._decoder.missing):
            lost = f"{self._decoder.garbage} bytes garbled, {self._decoder.missing} frames missing"
            self._fail(f"the line from the agent is damaged: {lost}")

    def _to_channel(self, frame: Frame) -> None:
        channel = self.channels.get(frame.channel)
        if channel is None:
            self._fail(f"the agent sent {frame.type.name} for channel {frame.channel}, which is not open")
            return
        channel.handle(frame)
        if channel.over:
            del self.channels[frame.channel]

    def _about_line(self, frame: Frame) -> None:
        if frame.type == Type.PONG:
            token, nanoseconds = struct.unpack("<QQ", frame.payload)
            self.pongs[token] = nanoseconds / 1e9
        elif frame.type == Type.ERROR:
            self._fail(f"the agent reports: {frame.payload.decode(errors='replace')}")
        else:
            self._fail(f"the agent sent {frame.type.name} for no channel")

    def _greet(self, payload: bytes) -> None:
        version, count = struct.unpack_from("<HH", payload)
        if version != PROTOCOL_VERSION:
            self._fail(f"its agent speaks version {version} of the protocol, not {PROTOCOL_VERSION}: an old initrd?")
            return
        if self.hello is not None:
            self._fail("the agent said HELLO again: the level was restarted")
            return
        release, name, *problems = payload[4 + 10 * count :].decode(errors="replace").split("\n")
        counts = {number: ours for number, *ours in struct.iter_unpack("<HII", payload[4 : 4 + 10 * count])}
        for number, channel in self.channels.items():
            if number not in counts:
                self._fail(f"{channel.name}: was open when the machine was saved, and is closed")
            elif not channel.agrees(*counts[number]):
                self._fail(f"{channel.name}: bytes were lost between the save and the restore")
        self.hello = Hello(release, name, tuple(problem for problem in problems if problem))

    def _on_close(self, reason: str) -> None:
        self.gone = reason
        for channel in self.channels.values():
            channel.lose(reason)
        self.channels.clear()

    def _fail(self, message: str) -> None:
        self._hub.fail(GuestError(f"L{self.level}: {message}", level=self.level))
