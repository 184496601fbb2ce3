# SPDX-License-Identifier: GPL-2.0-or-later
"""The build cache: results named by a digest of everything that went into them, each made once and whole."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dvhbuild.errors import HostError, system_error
from dvhbuild.locks import free, locked, shared
from dvhbuild.settings import Settings

MANIFEST = "inputs.json"


class Recipe(Protocol):
    """How to make one thing: `inputs` are all that it depends on, by name; `build` fills the empty directory `out`."""

    @property
    def name(self) -> str: ...

    def inputs(self) -> Mapping[str, str]: ...

    def build(self, out: Path, settings: Settings) -> None: ...


@dataclass(frozen=True)
class Entry:
    """A finished result: its directory, and the inputs (name -> digest or value) that made it."""

    name: str
    digest: str
    path: Path
    inputs: Mapping[str, str]


def digest_text(text: str) -> str:
    """SHA-256 of `text`, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def digest_files(*paths: Path) -> str:
    """SHA-256 over the files at `paths` (directories: all files below them), with their relative names."""
    total = hashlib.sha256()
    for path in paths:
        for file in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
            name = file.relative_to(path.parent).as_posix()
            if "__pycache__" in name:
                continue
            total.update(f"{name}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\0".encode())
    return total.hexdigest()


def digest_inputs(inputs: Mapping[str, str]) -> str:
    return digest_text(json.dumps(dict(inputs), sort_keys=True))


@dataclass(frozen=True)
class Store:
    """Results below `settings.cache/store`; locks beside them, so that a result's directory holds the result alone."""

    settings: Settings

    @property
    def root(self) -> Path:
        return self.settings.cache / "store"

    def find(self, recipe: Recipe) -> Entry | None:
        """The result of `recipe` if it was made before."""
        inputs = recipe.inputs()
        path = self._path(recipe.name, digest_inputs(inputs))
        if not (path / MANIFEST).is_file():
            return None
        os.utime(path)
        return Entry(recipe.name, digest_inputs(inputs), path, inputs)

    def obtain(self, recipe: Recipe, *, anew: bool = False) -> Entry:
        """The result of `recipe`, built if it must be (or, with `anew`, in any case).

        Another process that builds the same is waited for. A build that fails or is interrupted leaves nothing.
        """
        if not anew and (entry := self.find(recipe)):
            return entry
        inputs = recipe.inputs()
        digest = digest_inputs(inputs)
        with locked(self.settings, f"{recipe.name}-{digest[:16]}"):
            if not anew and (entry := self.find(recipe)):
                return entry
            with _full_disk_is_ours(self.root), self._scratch(recipe.name) as scratch:
                recipe.build(scratch, self.settings)
                (scratch / MANIFEST).write_text(json.dumps(dict(inputs), indent=2, sort_keys=True) + "\n")
                path = self._path(recipe.name, digest)
                if path.exists():
                    self._discard(path)
                scratch.rename(path)
        return Entry(recipe.name, digest, path, inputs)

    @contextmanager
    def use(self, recipe: Recipe) -> Iterator[Entry]:
        """The result of `recipe`, as by `obtain`, that no `prune` removes while the body runs."""
        while True:
            entry = self.obtain(recipe)
            with shared(self.settings, entry.path.name):
                if (entry.path / MANIFEST).is_file():  # still
                    yield entry
                    return

    def explain(self, recipe: Recipe) -> tuple[str, ...]:
        """Why `recipe` must be built: each input that differs from the result made last; empty if it need not be."""
        if self.find(recipe):
            return ()
        others = [entry for entry in self.entries() if entry.name == recipe.name]
        if not others:
            return ("never built before",)
        last = max(others, key=lambda entry: entry.path.stat().st_mtime)
        now = recipe.inputs()
        return tuple(
            f"{name}: {last.inputs.get(name, 'absent')} -> {now.get(name, 'absent')}"
            for name in sorted({*now, *last.inputs})
            if now.get(name) != last.inputs.get(name)
        )

    def entries(self) -> Iterator[Entry]:
        for manifest in sorted(self.root.glob(f"*/{MANIFEST}")):
            if manifest.parent.name.startswith("."):
                continue  # a build that is not done
            inputs = json.loads(manifest.read_text())
            name = manifest.parent.name.rpartition("-")[0]
            yield Entry(name, digest_inputs(inputs), manifest.parent, inputs)

    def prune(self, prefix: str, *, max_days: float, max_bytes: int) -> tuple[Entry, ...]:
        """Remove results whose name starts with `prefix` and that were last used over `max_days` ago, then the oldest
        until the rest take at most `max_bytes`; returns what was removed. What is in use (see `use`) stays.
        """
        with locked(self.settings, "prune"):
            return self._prune(prefix, max_days, max_bytes)

    def _prune(self, prefix: str, max_days: float, max_bytes: int) -> tuple[Entry, ...]:
        newest_first = sorted(
            (entry for entry in self.entries() if entry.name.startswith(prefix)),
            key=lambda entry: entry.path.stat().st_mtime,
            reverse=True,
        )
        kept, removed = 0, []
        for entry in newest_first:
            size = sum(file.stat().st_blocks * 512 for file in entry.path.rglob("*") if file.is_file())
            if entry.path.stat().st_mtime < time.time() - max_days * 86400 or kept + size > max_bytes:
                removed += [entry] if self._remove(entry) else []
            else:
                kept += size
        return tuple(removed)

    def _remove(self, entry: Entry) -> bool:
        """Remove `entry` unless it is just being built, or used."""
        with free(self.settings, entry.path.name) as ours:
            if ours:
                self._discard(entry.path)
            return ours

    def _discard(self, path: Path) -> None:
        """Remove the result `path`: all of it at once, as one of which a part is left would pass for a result."""
        aside = self.root / f".{path.name}-{os.getpid()}"
        path.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)

    def _path(self, name: str, digest: str) -> Path:
        return self.root / f"{name}-{digest[:16]}"

    @contextmanager
    def _scratch(self, name: str) -> Iterator[Path]:
        """An empty directory that is gone after the `with` unless it was renamed."""
        self.root.mkdir(parents=True, exist_ok=True)
        for left in self.root.glob(f".{name}-*"):
            if not Path("/proc", left.name.rpartition("-")[2]).exists():
                shutil.rmtree(left, ignore_errors=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{name}-", suffix=f"-{os.getpid()}", dir=self.root))
        scratch.chmod(0o755)
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def _full_disk_is_ours(where: Path) -> Iterator[None]:
    """Turn an OSError of the file system into a HostError that names the place."""
    try:
        yield
    except OSError as error:
        if isinstance(error, HostError) or error.errno is None:
            raise
        raise system_error(error, where) from error
