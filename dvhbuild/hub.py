# SPDX-License-Identifier: GPL-2.0-or-later
"""The one thread that reads all lines of a machine, and the one place where anybody waits for what they say.

Everything that is fed from these lines (logs, agents, channels) is changed under `Hub.lock` only, by the hub's thread
or by a caller who holds it.
"""

from __future__ import annotations

import heapq
import itertools
import os
import selectors
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self, TypeVar

from dvhbuild.errors import CancelledError, DvhError, GuestError, HostError, system_error

T = TypeVar("T")

CHECK_EVERY = 0.1
"""Seconds between two questions to `check` while somebody waits."""
REST = 0.0005
"""Seconds after each look at the lines: an emulated serial port hands over single bytes, better read by the dozen."""
LAST_WORDS = 0.3
"""Seconds for which lines are still read after `check` has found the machine dead: the reason may be on its way."""


class Deadline:
    """A moment that is handed down the calls, so that all the waits of one operation share one limit.

    `seconds` from now on `clock`, which may be a guest's.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._end = clock() + seconds

    @classmethod
    def of(cls, limit: float | Deadline) -> Deadline:
        """Return `limit` as a deadline: seconds from now, or a deadline that somebody else has set."""
        return limit if isinstance(limit, Deadline) else cls(limit)

    @property
    def left(self) -> float:
        return max(0.0, self._end - self._clock())

    @property
    def expired(self) -> bool:
        return self._clock() >= self._end


class Hub:
    """Reads, writes and keeps time for one machine, in a thread of its own; a context manager.

    `check` is asked while somebody waits and returns the machine's error (the emulator's exit, silence in guest time)
    or None; that `cancelled` is set is a failure too. The first failure, from wherever, is kept: it ends every wait,
    and every later one at once.
    """

    def __init__(
        self, check: Callable[[], DvhError | None] | None = None, *, cancelled: threading.Event | None = None
    ) -> None:
        self.lock = threading.RLock()
        self.check = check
        self.failure: DvhError | None = None
        self.last_words: list[Callable[[], None]] = []
        """Called before the machine's own error is taken: a log may hold a better one."""
        self._begin = time.monotonic()
        self._cancelled = cancelled
        self._changed = threading.Condition(self.lock)
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._wake_out, self._wake_in = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector.register(self._wake_out, selectors.EVENT_READ, self._woken)
        self._stopping = False
        self._dying = False
        self._thread = threading.Thread(target=self._run, name="hub", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def now(self) -> float:
        """Seconds since this hub began: the stamp on everything that is logged."""
        return time.monotonic() - self._begin

    def watch(self, fd: int, call: Callable[[int], None], *, events: int = selectors.EVENT_READ) -> None:
        """Call `call(events)` in the hub's thread whenever `fd` is ready; again with other `events` changes that."""
        with self.lock:
            try:
                self._selector.modify(fd, events, call)
            except KeyError:
                self._selector.register(fd, events, call)
            self._wake()

    def unwatch(self, fd: int) -> None:
        """Forget `fd`, which may not be known."""
        with self.lock:
            if fd in self._selector.get_map():
                self._selector.unregister(fd)
                self._wake()

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call `call()` in the hub's thread after `seconds`."""
        with self.lock:
            heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), call))
            self._wake()

    def fail(self, error: DvhError) -> None:
        """Let everybody who waits, now or later, have `error`, unless something failed before."""
        with self.lock:
            self.failure = self.failure or error
            self._changed.notify_all()

    def look(self) -> None:
        """Ask whether the machine lives, for one who does not wait here; raises what has failed."""
        with self.lock:
            self._ask()
        self.raise_failure()

    def raise_failure(self) -> None:
        """Raise what has failed, if anything has: a new exception each time, with the first as its cause."""
        if self.failure is not None:
            raise _again(self.failure) from self.failure

    def wait(self, ready: Callable[[], T | None], limit: float | Deadline, what: str, *, level: int) -> T:
        """Return what `ready()` returns as soon as that is not None; `what` says what is awaited.

        `ready` runs under the lock. Raises what has failed, or GuestError at the deadline.
        """
        deadline = Deadline.of(limit)
        checked = 0.0
        with self._changed:
            while True:
                self.raise_failure()
                if (value := ready()) is not None:
                    return value
                if time.monotonic() - checked >= CHECK_EVERY:
                    self._ask()
                    checked = time.monotonic()
                if deadline.expired:
                    raise GuestError(f"L{level}: {what}: not after {deadline.seconds:g} s", level=level)
                self._changed.wait(min(CHECK_EVERY, max(deadline.left, 0.001)))

    def changed(self) -> None:
        """Let those who wait look again; for changes made outside of the hub's thread."""
        with self.lock:
            self._changed.notify_all()

    def close(self) -> None:
        """Stop the thread. What it watched stays open: that is its owner's."""
        with self.lock:
            if self._stopping:
                return
            self._stopping = True
            self._wake()
        if threading.current_thread() is not self._thread:
            self._thread.join()
        self._selector.close()
        os.close(self._wake_in)
        os.close(self._wake_out)

    def _ask(self) -> None:
        if self._cancelled and self._cancelled.is_set():
            self.fail(CancelledError("cancelled"))
        error = self.check() if self.check and not self._dying else None
        if error is not None:
            self._dying = True
            self.later(LAST_WORDS, lambda: self.died(error))

    def died(self, error: DvhError) -> None:
        """Fail with `error`, unless a log holds a better reason; in the hub's thread."""
        for call in self.last_words:
            call()
        self.fail(error)

    def _wake(self) -> None:
        if threading.current_thread() is not self._thread:
            with suppress(BlockingIOError):  # it is full, so the thread wakes up anyway
                os.write(self._wake_in, b"w")

    def _woken(self, _events: int) -> None:
        os.read(self._wake_out, 4096)

    def _run(self) -> None:
        while not self._stopping:
            try:
                events = self._selector.select(self._until_next_timer())
                with self.lock:
                    for key, mask in events:
                        if self._selector.get_map().get(key.fd) == key:  # not if an earlier one of these closed it
                            key.data(mask)
                    self._call_timers()
                    self._changed.notify_all()
                time.sleep(REST)
            except Exception as error:  # noqa: BLE001 - nobody else would ever hear of it
                failure = _told(error)
                failure.__cause__ = None if failure is error else error
                self.fail(failure)
                if not isinstance(error, DvhError):
                    return

    def _until_next_timer(self) -> float | None:
        with self.lock:
            return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None

    def _call_timers(self) -> None:
        while self._timers and self._timers[0][0] <= time.monotonic():
            heapq.heappop(self._timers)[2]()


def _told(error: Exception) -> DvhError:
    """What went wrong in the hub's thread, for those who wait."""
    if isinstance(error, DvhError):
        return error
    if isinstance(error, OSError):
        return system_error(error, "the reader")
    return HostError(f"the reader failed: {error!r}")


def _again(error: DvhError) -> DvhError:
    """A copy of `error` to raise: the same one raised in two threads would mix up their tracebacks."""
    if isinstance(error, GuestError):
        return GuestError(error.message, level=error.level, tail=error.tail, remedy=error.remedy, log=error.log)
    return type(error)(error.message, remedy=error.remedy, log=error.log)
