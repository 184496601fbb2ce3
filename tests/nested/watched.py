# SPDX-License-Identifier: GPL-2.0-or-later
"""A `dvhbuild iterate` that runs beside a test."""

import subprocess
import time

SECONDS = 1200
"""For a round, with a kernel to build."""


class Watched:
    """Runs `argv` for as long as the body of the `with` runs; what it says goes to the file `said`."""

    def __init__(self, argv, said, environ, cwd=None):
        self._start = {"args": argv, "env": environ, "cwd": cwd, "stderr": subprocess.STDOUT}
        self._said = said
        self._rounds = 0

    def __enter__(self):
        with self._said.open("wb") as out:
            self.process = subprocess.Popen(**self._start, stdout=out, process_group=0)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def hear(self):
        """What it says until it watches again."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            rounds = self._said.read_text().split("; Ctrl-C ends\n")
            if len(rounds) > self._rounds + 1:
                self._rounds += 1
                return rounds[self._rounds - 1]
            time.sleep(0.2)
        raise AssertionError(self._said.read_text())
