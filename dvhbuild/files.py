# SPDX-License-Identifier: GPL-2.0-or-later
"""Files that are written for people and other programs: all of one, or nothing."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from dvhbuild.errors import HostError


@contextmanager
def replacement(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `path`, whose directory is made if it is not there, when the body is done.

    Raises HostError if the disk fails; what was there is untouched then, as it is if the body fails.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            yield cast("BinaryIO", file)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise HostError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        if temporary:
            temporary.unlink(missing_ok=True)


def replace(path: Path, text: str) -> None:
    """Put a file of `text` in the place of `path`; raises what `replacement` does."""
    with replacement(path) as file:
        file.write(text.encode())
