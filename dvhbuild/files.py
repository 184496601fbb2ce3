# SPDX-License-Identifier: GPL-2.0-or-later
"""Files that are written for people and other programs: all of one, or nothing."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from dvhbuild.errors import HostError


def replace(path: Path, text: str) -> None:
    """Put a file of `text` in the place of `path`, whose directory is made if it is not there.

    Raises HostError if the disk fails; what was there is untouched then.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", dir=path.parent, prefix=f".{path.name}.", delete=False, encoding="utf-8"
        ) as file:
            temporary = Path(file.name)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise HostError(f"{path}: cannot be written: {error.strerror}") from error
    finally:
        if temporary:
            temporary.unlink(missing_ok=True)
