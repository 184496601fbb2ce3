# SPDX-License-Identifier: GPL-2.0-or-later
"""What can go wrong, by whose fault: library code raises these, only `cli` prints them and exits."""

from __future__ import annotations

import copyreg
import errno
from pathlib import Path

MORE_SPACE = "free some space (dvhbuild clean), or set DVHBUILD_CACHE to a larger disk"


class DvhError(Exception):
    """A failure that a person can act on.

    `message` is one line that names the thing; `remedy`, if any, says what to do about it; `log` is the file that
    tells the rest. `status` is the exit status of the command line.
    """

    status = 1

    def __init__(self, message: str, *, remedy: str | None = None, log: Path | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.log = log

    def __reduce__(self) -> tuple[object, ...]:
        """For pickle, on the way from a worker: by default, it leaves out what is given by name."""
        return copyreg.__newobj__, (type(self), self.message), vars(self)  # type: ignore[attr-defined]


class VerdictError(DvhError):
    """What was measured does not meet its bound, or a patch does not pass its checks."""

    status = 1


class UserError(DvhError, ValueError):
    """Bad input: an option, a file, a patch, a configuration."""

    status = 2


class HostError(DvhError, RuntimeError):
    """The machine that we run on failed us: a missing tool, a full disk, a build or a download that failed."""

    status = 3


class CancelledError(DvhError):
    """Another part of the same work failed or was interrupted: never the first error, so never the one to show."""


class GuestError(DvhError, RuntimeError):
    """A guest or the emulator failed: panic, oops, hang, triple fault, silence.

    `level` is 0 for the lowest hypervisor; `tail` holds the last lines that the level printed.
    """

    status = 4

    def __init__(
        self,
        message: str,
        *,
        level: int,
        tail: tuple[str, ...] = (),
        remedy: str | None = None,
        log: Path | None = None,
    ) -> None:
        super().__init__(message, remedy=remedy, log=log)
        self.level = level
        self.tail = tail


def system_error(error: OSError, where: object) -> HostError:
    """Tell an error of the system in one line: of the file that it names, or of `where`; a full disk has a remedy."""
    remedy = MORE_SPACE if error.errno in (errno.ENOSPC, errno.EDQUOT) else None
    return HostError(f"{error.filename or where}: {error.strerror or error}", remedy=remedy)
