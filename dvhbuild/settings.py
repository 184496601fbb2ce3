# SPDX-License-Identifier: GPL-2.0-or-later
"""Where things are on this machine, read once from the environment and handed down."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs

from dvhbuild.errors import UserError
from dvhbuild.steps import Reporter, Silent

ROOT = Path(__file__).resolve().parent.parent
"""The checkout that this package is part of: patches, configurations and guests lie beside it."""

COMPONENTS = ("linux", "qemu", "bochs", "busybox")


@dataclass(frozen=True)
class Settings:
    """`own` maps a component to the git tree or tarball that the user named for it (DVHBUILD_LINUX and so on).

    `cache` has no symbolic link in it: make goes by where a directory really is, and ccache would find none of what is
    built there below a `cache` that is called otherwise. Each __FILE__ in a kernel would be another then.

    Once `cancelled` is set, every machine fails whoever waits for it: how one thread ends the work of the others.
    """

    root: Path
    cache: Path
    downloads: Path | None = None
    own: Mapping[str, Path] = field(default_factory=dict)
    reporter: Reporter = field(default_factory=Silent)
    cancelled: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def from_environment(cls, reporter: Reporter, environ: Mapping[str, str] = os.environ) -> Settings:
        """Read DVHBUILD_CACHE, DVHBUILD_DOWNLOADS and DVHBUILD_LINUX, _QEMU, _BOCHS, _BUSYBOX.

        Raises UserError that names the variable.
        """
        cache = environ.get("DVHBUILD_CACHE") or platformdirs.user_cache_dir("dvhbuild", appauthor=False)
        own = {name: _existing(f"DVHBUILD_{name.upper()}", environ) for name in COMPONENTS}
        return cls(
            root=ROOT,
            cache=_path("DVHBUILD_CACHE", cache).resolve(),
            downloads=_existing("DVHBUILD_DOWNLOADS", environ),
            own={name: path for name, path in own.items() if path},
            reporter=reporter,
        )

    @property
    def logs(self) -> Path:
        return self.cache / "logs"


def _existing(variable: str, environ: Mapping[str, str]) -> Path | None:
    value = environ.get(variable)
    if not value:
        return None
    path = _path(variable, value)
    if not path.exists():
        raise UserError(
            f"{variable}={value}: no such file or directory", remedy=f"unset {variable}, or name what exists"
        )
    return path


def _path(variable: str, value: str) -> Path:
    try:
        return Path(value).expanduser().absolute()
    except RuntimeError as error:
        raise UserError(
            f"{variable}={value}: there is no such home directory", remedy=f"set {variable} to an absolute path"
        ) from error
