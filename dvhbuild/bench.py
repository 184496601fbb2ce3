# SPDX-License-Identifier: GPL-2.0-or-later
"""The main job: experiments at every level of a stack, and a result that names all that made it."""

from __future__ import annotations

import platform
import re
import time
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import pygit2

from dvhbuild.build import COMPONENTS, SERIES, Builder
from dvhbuild.errors import CancelledError, GuestError, UserError
from dvhbuild.experiments.model import Experiment
from dvhbuild.guests import linux_append
from dvhbuild.lab import bring_up, run_directory
from dvhbuild.machine import bochs, tcg
from dvhbuild.measure import measure
from dvhbuild.nest import Nest
from dvhbuild.result import Base, Inputs, MadeBy, Result, Row
from dvhbuild.settings import ROOT
from dvhbuild.stack import Stack

CONFIG = "base"


@dataclass(frozen=True)
class Job:
    """What to measure: `ops` operations of each of `experiments`, at each guest level of `stack`."""

    stack: Stack
    experiments: tuple[Experiment, ...]
    ops: int
    fresh: bool = False


def perform(builder: Builder, job: Job) -> Result:
    """Do it, each level on a machine of its own, side by side: their clocks count instructions, not time.

    Raises GuestError, VerdictError, HostError, the first there is: there is no partial result.
    """
    builder.artifacts  # noqa: B018 - built first, by one thread
    levels = range(1, len(job.stack.levels))
    if not levels:
        raise UserError(f"{job.stack.name}: this stack has no guests to measure")
    made_by = MadeBy(version=metadata.version("dvhbuild"), commit=_commit(ROOT), date=datetime.now(UTC))
    begin = time.monotonic()
    with ThreadPoolExecutor(len(levels)) as pool:
        futures = [pool.submit(_measure_level, builder, job, level) for level in levels]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            if not all(future.done() and not future.exception() for future in futures):
                builder.settings.cancelled.set()
    errors = [error for future in futures if (error := future.exception())]
    for error in sorted(errors, key=lambda error: isinstance(error, CancelledError)):
        raise error
    rows = [row for future in futures for row in future.result()]
    return Result(made_by=made_by, inputs=inputs(builder, job.stack, time.monotonic() - begin), rows=rows)


def _measure_level(builder: Builder, job: Job, level: int) -> tuple[Row, ...]:
    directory = run_directory(builder.settings, f"measure-l{level}")
    with bring_up(builder, job.stack, level - 1, directory, fresh=job.fresh) as nest:
        check_nested(nest)
        return tuple(measure(nest, level, job.experiments, job.ops, CONFIG))


def check_nested(nest: Nest) -> None:
    """Raise GuestError if the KVM of the highest level cannot run guests."""
    for linux in nest.levels:
        if linux.agent.run("test -c /dev/kvm").status:
            raise GuestError(
                f"L{linux.number} has no /dev/kvm: its processor offers no virtualization",
                level=linux.number,
                tail=tuple(linux.agent.run("dmesg | grep -i kvm").text.splitlines()),
                remedy="give the level below a CPU model with vmx (-cpu host), and kvm_intel nested=1",
                log=linux.log.path,
            )


def inputs(builder: Builder, stack: Stack, seconds: float) -> Inputs:
    """All that led to the rows of `stack`; `seconds` is what the measurement took."""
    artifacts = builder.artifacts
    bases = {name: builder.source(name) for name in COMPONENTS if name != "guest"}
    levels = enumerate(stack.levels[1:], 1)
    return Inputs(
        bases={name: Base(version=source.version, origin=source.origin) for name, source in bases.items()},
        series={name: [commit for _, commit in builder.applied(name).patches] for name in SERIES},
        digests={
            name: getattr(artifacts, name).digest for name in ("linux", "qemu", "bochs", "guest", "initrd", "files")
        },
        stack=stack.model_dump(mode="json"),
        kernel_command_lines=[
            f"{(tcg if stack.machine == 'tcg' else bochs).APPEND} {stack.levels[0].append}",
            *(linux_append(number, level) for number, level in levels),
        ],
        machine=stack.machine,
        host_cpu=_cpu_model(),
        seconds=round(seconds, 1),
    )


def _cpu_model(path: Path = Path("/proc/cpuinfo")) -> str:
    match = re.search(r"^model name\s*:\s*(.+)$", path.read_text(), re.MULTILINE)
    return match[1] if match else platform.machine()


def _commit(root: Path) -> str | None:
    """The commit of the checkout `root`, with "-dirty" if it was changed."""
    try:
        repository = pygit2.Repository(str(root))
        head, changes = repository.head.target, repository.status().values()
    except pygit2.GitError:
        return None
    dirty = any(not flags & pygit2.enums.FileStatus.IGNORED for flags in changes)
    return f"{head}{'-dirty' if dirty else ''}"
