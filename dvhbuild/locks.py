# SPDX-License-Identifier: GPL-2.0-or-later
"""Locks between runs of dvhbuild that share a cache. The kernel frees them however a run ends."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from filelock import FileLock, Timeout

from dvhbuild.errors import CancelledError
from dvhbuild.settings import Settings
from dvhbuild.steps import step

POLL = 0.1
"""Seconds between two attempts."""


@contextmanager
def locked(settings: Settings, name: str) -> Iterator[None]:
    """Hold the lock `name` of the cache alone; says so if another process has it."""
    lock = FileLock(_path(settings, name))
    _wait(settings, name, lambda: _alone(lock))
    try:
        yield
    finally:
        lock.release()


@contextmanager
def shared(settings: Settings, name: str) -> Iterator[None]:
    """Hold the lock `name` with others who read what it guards, and keep those out who hold it alone to change that."""
    with _path(settings, name).open("ab") as file:
        _wait(settings, name, lambda: _with_others(file))
        yield


@contextmanager
def free(settings: Settings, name: str) -> Iterator[bool]:
    """Hold the lock `name` alone, unless somebody has it: then False, at once."""
    lock = FileLock(_path(settings, name))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _path(settings: Settings, name: str) -> Path:
    directory = settings.cache / "locks"
    directory.mkdir(parents=True, exist_ok=True)
    return directory / f"{name}.lock"


def _wait(settings: Settings, name: str, take: Callable[[], bool]) -> None:
    if take():
        return
    with step(settings.reporter, f"wait for another dvhbuild that works on {name}"):
        while not take():
            if settings.cancelled.is_set():
                raise CancelledError("cancelled")


def _alone(lock: FileLock) -> bool:
    try:
        lock.acquire(timeout=POLL)
    except Timeout:
        return False
    return True


def _with_others(file: IO[bytes]) -> bool:
    """As a FileLock is a flock(2), it and this see each other."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        time.sleep(POLL)
        return False
    return True
