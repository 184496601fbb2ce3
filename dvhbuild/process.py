# SPDX-License-Identifier: GPL-2.0-or-later
"""The one place that starts processes: each in a group of its own that ends with us, whatever happens."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from dvhbuild.errors import MORE_SPACE, HostError
from dvhbuild.steps import Reporter

Argv = Sequence[str | Path]

FULL = 4 << 20
"""Bytes that are left on a disk that was just too small."""

GRACE = 3.0
"""Seconds between SIGTERM and SIGKILL."""

_DIE_WITH_US = ("setpriv", "--pdeathsig", "TERM", "--")
"""PR_SET_PDEATHSIG by util-linux's setpriv: a preexec_fn of our own may deadlock, as a thread reads the consoles.

SIGTERM, so that make ends what it started, too: it would go on in a build directory whose lock is free.
"""

TIME = 946_684_800
"""Seconds since 1970: when everything was built, as far as what is built can tell (SOURCE_DATE_EPOCH)."""

_KEPT = ("HOME", "USER", "TMPDIR", "SSL_CERT_FILE", "http_proxy", "https_proxy", "no_proxy")


def search_path() -> str:
    """Where programs are looked for: beside our Python (meson, ninja), on PATH, and where mke2fs is for root alone."""
    return os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The small environment that every process gets: the same locale, terminal, date and zone everywhere, plus `extra`.

    The zone is the emulated machine's, too: Bochs takes the time that its clock is given for one in UTC and sets the
    clock to what that is here.
    """
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    same = {"LC_ALL": "C.UTF-8", "TERM": "dumb", "SOURCE_DATE_EPOCH": str(TIME), "TZ": "UTC0"}
    return {**kept, "PATH": search_path(), **same, **(extra or {})}


def stop(process: subprocess.Popen[bytes], grace: float = GRACE) -> None:
    """End `process` and its group: SIGTERM, after `grace` seconds, or for what its leader left behind, SIGKILL.

    What is not ours to kill (sudo's) gets as long to end by itself.
    """
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, sign)
        with suppress(subprocess.TimeoutExpired):
            process.wait(grace)


@contextmanager
def running(
    argv: Argv,
    *,
    reporter: Reporter,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: int | IO[bytes] | None = subprocess.DEVNULL,
    stdout: int | IO[bytes] | None = subprocess.DEVNULL,
    stderr: int | IO[bytes] | None = subprocess.STDOUT,
    pass_fds: Sequence[int] = (),
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `argv` while the body of the `with` runs; on leaving it the whole process group is gone.

    Raises HostError if the program does not exist.
    """
    words = tuple(str(word) for word in argv)
    reporter.command(words, cwd)
    if shutil.which(words[0], path=search_path()) is None:
        raise HostError(f"{words[0]}: not found", remedy="dvhbuild doctor --install")
    process = subprocess.Popen(
        (*_DIE_WITH_US, *words),
        cwd=cwd,
        env=environment(env),
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        pass_fds=tuple(pass_fds),
        process_group=0,
    )
    try:
        yield process
    finally:
        stop(process)


def run(
    argv: Argv,
    *,
    reporter: Reporter,
    log: Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: IO[bytes] | None = None,
    timeout: float | None = None,
) -> None:
    """Run `argv` to its end, its output appended to `log`.

    Raises HostError, with the last line of output and the command to paste, if it fails or takes over `timeout` s.
    """
    line = shlex.join(str(word) for word in argv)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        out.write(f"$ {line}\n".encode())
        out.flush()
        source = stdin or subprocess.DEVNULL
        with running(argv, reporter=reporter, cwd=cwd, env=env, stdin=source, stdout=out) as process:
            try:
                status = process.wait(timeout)
            except subprocess.TimeoutExpired as error:
                raise HostError(f"{argv[0]}: not done after {timeout:.0f} s", log=log) from error
    if status:
        if shutil.disk_usage(log.parent).free < FULL:
            raise HostError(
                f"{Path(argv[0]).name} failed ({status}): the disk of {log.parent} is full", remedy=MORE_SPACE
            )
        lines = [text for text in log.read_text(errors="replace").splitlines() if text.strip()]
        where = f"cd {shlex.quote(str(cwd))} && " if cwd else ""
        said = f"{Path(argv[0]).name} failed ({status}): {lines[-1]}"
        raise HostError(said, remedy=f"by hand: {where}{line}", log=log)


def output(argv: Argv, *, reporter: Reporter, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """Run `argv` and return what it prints, without the last newline; raises HostError if it fails."""
    with running(argv, reporter=reporter, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        out, err = process.communicate()
    if process.returncode:
        said = err.decode(errors="replace").strip().splitlines() or ["no message"]
        line = shlex.join(map(str, argv))
        raise HostError(f"{argv[0]} failed ({process.returncode}): {said[-1]}", remedy=f"by hand: {line}")
    return out.decode(errors="replace").rstrip("\n")
