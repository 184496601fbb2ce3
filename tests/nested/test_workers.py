# SPDX-License-Identifier: GPL-2.0-or-later
"""Cells by workers of a scheduler, each a process of its own, and one of them killed in the middle."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from procs import descendants, left

from dvhbuild.bench import Job, perform
from dvhbuild.experiments import choose

pytestmark = pytest.mark.nested


@contextmanager
def dask(kind, scheduler_file, *options):
    """A `dask scheduler` or `dask worker` as a process; nothing of it is left afterwards."""
    words = [sys.executable, "-m", "dask", kind, "--scheduler-file", str(scheduler_file), *options]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        started = descendants(process.pid)
        process.terminate()
        process.wait(60)
        assert not left(started)


def has_machine(process):
    return any(Path(f"/proc/{pid}/comm").read_text() == "bochs\n" for pid in descendants(process.pid))


def until(ready, seconds):
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_killed_workers_cell_is_done_by_another(builder, stack, tmp_path):
    builder.artifacts  # noqa: B018 - built before, so that what workers do is to measure
    scheduler_file = tmp_path / "scheduler.json"
    job = Job(stack, choose(["exits"], stack), 100, again=True)
    done = []
    with ExitStack() as processes:
        processes.enter_context(
            dask("scheduler", scheduler_file, "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        )
        until(scheduler_file.exists, 60)
        address = json.loads(scheduler_file.read_text())["address"]
        options = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--memory-limit", "0")
        workers = [processes.enter_context(dask("worker", scheduler_file, *options)) for _ in range(2)]
        work = threading.Thread(target=lambda: done.append(perform(builder, job, address)))
        work.start()
        until(lambda: all(map(has_machine, workers)), 120)
        machine = descendants(workers[0].pid)
        os.kill(workers[0].pid, signal.SIGKILL)
        work.join(500)
    (result,) = done
    rows = [(row.operation, row.level) for row in result.rows]
    assert rows == [("cpuid", 1), ("vmcall", 1), ("cpuid", 2), ("vmcall", 2)]
    assert {row.ops for row in result.rows} == {100}
    assert not left(machine)
