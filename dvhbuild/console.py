# SPDX-License-Identifier: GPL-2.0-or-later
"""What a level's console says: kept to the last byte, with times, and watched for its death. Not for commands."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pexpect.spawnbase import SpawnBase

from dvhbuild.errors import GuestError, system_error
from dvhbuild.hub import Deadline, Hub
from dvhbuild.lines import Transport
from dvhbuild.loglines import END, Cleaner, Finding, Lines, Matcher

TAIL = 30
"""Lines of a log that an error shows."""
SETTLE = 1.0
"""Seconds without a word after which a kernel's report of its own death counts as complete."""
SETTLE_AFTER_END = 0.2
SETTLE_AT_MOST = 10.0
SEARCH_WINDOW = 1 << 14
"""Characters from the end that an `expect` searches: what it waits for is shorter, and megabytes stay fast."""


class StampedFile:
    """A file that gets every byte, each line behind the time at which it began ("   12.345 ", seconds).

    `write` raises HostError if the disk fails.
    """

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._clock = clock
        self._file = path.open("wb", buffering=0)
        self._at_start = True

    def write(self, data: bytes) -> None:
        if not data:
            return
        stamp = b"%9.3f " % self._clock()
        body = data.replace(b"\n", b"\n" + stamp)
        first = stamp if self._at_start else b""
        self._at_start = data.endswith(b"\n")
        if self._at_start:
            body = body[: -len(stamp)]
        try:
            self._file.write(first + body)
        except OSError as error:
            raise system_error(error, self.path) from error

    def close(self) -> None:
        self._file.close()


class Log:
    """Reads a console for as long as it lasts: stores it at `path`, keeps its last lines, tells the hub of a death.

    A death is told once the kernel's report of it is complete: at its end line, or when the console has fallen silent.
    """

    def __init__(self, hub: Hub, transport: Transport, path: Path, *, level: int, name: str | None = None) -> None:
        self.level = level
        self.name = name or f"L{level}"
        self.path = path
        self.matcher = Matcher()
        self.closed: str | None = None
        """Why there is nothing more to read."""
        self.heard = hub.now
        """When the last byte came, in seconds since the hub began."""
        self._hub = hub
        self._transport = transport
        self._file = StampedFile(path, lambda: hub.now)
        self._cleaner = Cleaner()
        self._lines = Lines()
        self._tail: deque[str] = deque(maxlen=TAIL)
        self._streams: list[Stream] = []
        self._found_at = 0.0
        self._ended = False
        self._will_look = False
        hub.last_words.append(self.flush)
        transport.attach(self._on_data, self._on_close)

    def tail(self) -> tuple[str, ...]:
        """Return the last lines, the unfinished one included."""
        with self._hub.lock:
            lines = [*self._tail, self._lines.partial] if self._lines.partial.strip() else list(self._tail)
        return tuple(lines[-TAIL:])

    def stream(self) -> Stream:
        """Return the text that comes from now on, to be waited for."""
        with self._hub.lock:
            stream = Stream(self._hub, level=self.level, name=f"{self.name}'s log", log=self)
            self._streams.append(stream)
        return stream

    def close(self) -> None:
        """Stop reading."""
        with self._hub.lock:
            self._transport.close()
            self._file.close()

    def flush(self) -> None:
        """Look at the unfinished line as well, and tell what was found, complete or not."""
        self._look(self._lines.partial)
        if self.matcher.finding:
            self._tell(self.matcher.finding)

    def _on_data(self, data: bytes) -> None:
        self.heard = self._hub.now
        self._file.write(data)
        text = self._cleaner.feed(data)
        for line in self._lines.feed(text):
            if line.strip():
                self._tail.append(line)
                self._look(line)
        for stream in self._streams:
            stream.push(text)
        if self._lines.partial and not self._will_look:
            # A BIOS that gives up ends its last line with no newline.
            self._will_look = True
            self._hub.later(SETTLE, self._look_at_partial)

    def _on_close(self, reason: str) -> None:
        self.closed = reason
        self._file.write(f"\n[console {reason}]\n".encode())
        self.flush()
        for stream in self._streams:
            stream.end(reason)

    def _look_at_partial(self) -> None:
        self._will_look = False
        self._look(self._lines.partial)

    def _look(self, line: str) -> None:
        if self.matcher.finding:
            self._ended = self._ended or bool(END.search(line))
            return
        if finding := self.matcher.feed(line):
            self._found_at = self._hub.now
            self._hub.later(SETTLE_AFTER_END, lambda: self._settle(finding))

    def _settle(self, finding: Finding) -> None:
        silent = self._hub.now - self.heard
        complete = silent >= SETTLE or (self._ended and silent >= SETTLE_AFTER_END)
        if complete or self._hub.now - self._found_at > SETTLE_AT_MOST:
            self._tell(finding)
        else:
            self._hub.later(SETTLE_AFTER_END, lambda: self._settle(finding))

    def _tell(self, finding: Finding) -> None:
        message = f"{self.name}: {finding.says}: {finding.line}"
        self._hub.fail(GuestError(message, level=self.level, tail=self.tail(), log=self.path))


@dataclass(frozen=True)
class Match:
    """What was awaited: which pattern, the text before it, and its groups."""

    index: int
    before: str
    text: str
    groups: tuple[str | None, ...]


class Stream(SpawnBase):  # type: ignore[misc]  # pexpect is not typed
    """Text to wait for, by pexpect's rules: of a log, or of a terminal through an agent (`Stream.of`)."""

    def __init__(self, hub: Hub, *, level: int, name: str, log: Log | None = None) -> None:
        super().__init__(timeout=None, searchwindowsize=SEARCH_WINDOW, encoding="utf-8", codec_errors="replace")
        self.level = level
        self.stream_name = name
        self._hub = hub
        self._log = log
        self._text: deque[str] = deque()
        self._end: str | None = None
        self._transport: Transport | None = None
        self._deadline = Deadline(0)
        self._what = ""

    @classmethod
    def of(cls, hub: Hub, transport: Transport, *, level: int) -> Stream:
        """Take over `transport`: its text to wait for, `send` to write to it."""
        stream = cls(hub, level=level, name=transport.name)
        cleaner = Cleaner()
        stream._transport = transport
        transport.attach(lambda data: stream.push(cleaner.feed(data)), stream.end)
        return stream

    def push(self, text: str) -> None:
        if text:
            self._text.append(text)

    def end(self, reason: str) -> None:
        self._end = reason

    def send(self, text: str) -> None:
        """Type `text`; only for a stream that is a terminal."""
        if self._transport is None:
            raise TypeError(f"{self.stream_name} cannot be written to")
        self._transport.write(text.encode())

    def expect(self, patterns: str | Sequence[str], limit: float | Deadline, what: str | None = None) -> Match:
        """Wait for the first of `patterns` (regular expressions; $ matches only at the end of what has arrived).

        Raises what fails in the meantime, and GuestError if nothing matches in time or the stream ends; it says `what`
        was awaited and holds the last lines.
        """
        wanted = [patterns] if isinstance(patterns, str) else list(patterns)
        self._deadline = Deadline.of(limit)
        self._what = what or f"waiting for {' or '.join(wanted)!r} in {self.stream_name}"
        index = self.expect_list([re.compile(pattern, re.DOTALL) for pattern in wanted], timeout=None)
        return Match(index, self.before, self.after, self.match.groups())

    def read_nonblocking(self, size: int = 1, timeout: float | None = None) -> str:  # noqa: ARG002 - pexpect's
        """Return all text that is there, as soon as there is some; for pexpect, which hands down no deadline."""
        try:
            self._hub.wait(lambda: self._text or self._end, self._deadline, self._what, level=self.level)
            with self._hub.lock:
                text = "".join(self._text)
                self._text.clear()
        except GuestError as error:
            raise self._explained(error) from error.__cause__
        if not text:
            raise self._explained(GuestError(f"L{self.level}: {self._what}: it ended: {self._end}", level=self.level))
        return text

    def _explained(self, error: GuestError) -> GuestError:
        """Add our last lines to an error that has none."""
        if error.tail:
            return error
        tail = self._log.tail() if self._log else tuple(str(self.buffer).splitlines()[-TAIL:])
        return GuestError(
            error.message, level=error.level, tail=tail, log=error.log or (self._log.path if self._log else None)
        )
