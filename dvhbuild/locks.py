# SPDX-License-Identifier: GPL-2.0-or-later
"""Locks between runs of dvhbuild that share a cache."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from dvhbuild.errors import CancelledError
from dvhbuild.settings import Settings
from dvhbuild.steps import step


@contextmanager
def locked(settings: Settings, name: str) -> Iterator[None]:
    """Hold the lock `name` of the cache; says so if another process has it. The kernel frees it however we end."""
    directory = settings.cache / "locks"
    directory.mkdir(parents=True, exist_ok=True)
    lock = FileLock(directory / f"{name}.lock")
    try:
        lock.acquire(timeout=0.1)
    except Timeout:
        with step(settings.reporter, f"wait for another dvhbuild that works on {name}"):
            while not _acquired(lock):
                if settings.cancelled.is_set():
                    raise CancelledError("cancelled") from None
    try:
        yield
    finally:
        lock.release()


def _acquired(lock: FileLock) -> bool:
    try:
        lock.acquire(timeout=0.2)
    except Timeout:
        return False
    return True
