# SPDX-License-Identifier: GPL-2.0-or-later
"""The main job: experiments at every level of a stack, and a result that names all that made it."""

from __future__ import annotations

import itertools
import platform
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import pygit2

from dvhbuild import crew
from dvhbuild.build import COMPONENTS, SERIES, UNPATCHED, Builder
from dvhbuild.cells import Cell, CellRecipe, read
from dvhbuild.errors import UserError
from dvhbuild.experiments import choose
from dvhbuild.experiments.model import GUESTS, Experiment, Guest
from dvhbuild.guests import linux_append
from dvhbuild.machine import bochs, tcg
from dvhbuild.measure import Keep
from dvhbuild.recipes.workloads import PACKAGES
from dvhbuild.result import Base, Case, Inputs, MadeBy, Result
from dvhbuild.settings import ROOT
from dvhbuild.stack import Stack, load_stack, stack_names
from dvhbuild.traces import unpack

CELL_DAYS = 30.0
CELL_BYTES = 256 << 20
"""How long what came of cells is kept unused, and how much it may take together."""

OPERATIONS = 8
"""What one machine is for, unless an experiment has more: few enough that none is busy long after the others."""


@dataclass(frozen=True)
class Job:
    """What to measure: `ops` operations of each of `experiments`, at each guest level of `stack`.

    With `again`, what was measured before is measured again; with `fresh`, on machines that are booted for it.
    """

    stack: Stack
    experiments: tuple[Experiment, ...]
    ops: int
    again: bool = False
    fresh: bool = False


def perform(builder: Builder, job: Job, scheduler: str | None = None, keep: Keep | None = None) -> Result:
    """Do it, each cell on a machine of its own, side by side: their clocks count instructions, not time.

    `keep` gets each row's trace, those of rows that were measured before as well.

    Raises UserError, with nothing built, if nothing is to be measured; then what `crew.measure` does, the first there
    is: there is no partial result.
    """
    runs = _runs(job)
    for stack in _configured(job.stack):
        builder.of(stack).artifacts  # noqa: B018 - built first, by one thread
    made_by = MadeBy(version=metadata.version("dvhbuild"), commit=_commit(ROOT), date=datetime.now(UTC))
    begin = time.monotonic()
    recipes = [CellRecipe(builder, _cell(job, run), job.fresh) for run in runs]
    again = job.again or job.fresh
    known = [None if again else builder.store.find(recipe) for recipe in recipes]
    missing = [recipe for recipe, entry in zip(recipes, known, strict=True) if not entry]
    measured = iter(crew.measure(builder, missing, again=again, scheduler=scheduler)) if missing else iter(())
    parts = [read(entry.path) if entry else next(measured) for entry in known]
    if keep:
        for part in parts:
            for traced in unpack(part.traces, part.rows):
                keep(traced)
    builder.store.prune("cell", max_days=CELL_DAYS, max_bytes=CELL_BYTES)
    made_of = inputs(builder, job.stack, time.monotonic() - begin)
    if any(experiment.packages for experiment in job.experiments):
        made_of = _with_packages(made_of, builder)
    return Result(
        made_by=made_by,
        inputs=made_of,
        measured=[part.date for part in parts],
        rows=sorted((row for part in parts for row in part.rows), key=lambda row: row.level),
        idle=sorted((idle for part in parts for idle in part.idle), key=lambda idle: idle.level),
        tasks=[task for part in parts for task in part.tasks],
        workloads=sorted((work for part in parts for work in part.workloads), key=lambda work: work.level),
    )


def _configured(stack: Stack) -> tuple[Stack, ...]:
    return tuple(stack.configured(variant) for variant in stack.variants)


@dataclass(frozen=True)
class _Run:
    """One machine: a guest at `level` of the stack's `variant`, what to measure on it, and the config in the rows."""

    level: int
    variant: str
    guest: Guest
    experiments: tuple[tuple[Experiment, str], ...]


def cases(job: Job) -> tuple[Case, ...]:
    """What `job` measures, a row each."""
    return tuple(
        Case(experiment.name, operation.name, config, run.level)
        for run in _runs(job)
        for experiment, config in run.experiments
        for operation in experiment.performed_by(run.guest)
    )


def full_runs() -> dict[str, tuple[Case, ...]]:
    """What is measured on each stack that is for experiments, by its name, if nobody asks for less."""
    stacks = [load_stack(name) for name in stack_names()]
    return {stack.name: cases(Job(stack, choose((), stack), 0)) for stack in stacks if stack.experiments}


def _runs(job: Job) -> list[_Run]:
    """The machines that `job` takes, the slowest first; raises UserError if there are none."""
    levels = range(len(job.stack.levels) - 1, 0, -1)
    if not levels:
        raise UserError(f"{job.stack.name}: this stack has no guests to measure")
    variants = job.stack.variants
    runs = []
    for level, guest, variant in itertools.product(levels, GUESTS, variants):
        performed = [experiment for experiment in job.experiments if experiment.performed_by(guest)]
        configs = [(experiment, experiment.config(level, variant)) for experiment in performed]
        wanted = [(experiment, config) for experiment, config in configs if config]
        runs += [_Run(level, variant, guest, batch) for batch in _batches(wanted, guest)]
    watched = [experiment for experiment in job.experiments if experiment.watched]
    for level, variant, experiment in itertools.product(levels, variants, watched):
        config = experiment.config(level, variant)
        runs += [_Run(level, variant, "linux", ((experiment, config),))] if config else []
    if not runs:
        raise _unmeasured(job)
    return runs


def _unmeasured(job: Job) -> UserError:
    """That no experiment is measured in the stack's variants, and in which configurations one would be."""
    stack, levels = job.stack, range(1, len(job.stack.levels))
    if not stack.variants:
        return UserError(f"{stack.name}: this stack has no configurations to measure")
    experiments = ", ".join(experiment.name for experiment in job.experiments)
    others = [
        variant
        for variant in stack.configs
        if any(experiment.config(level, variant) for experiment in job.experiments for level in levels)
    ]
    return UserError(
        f"{stack.name}: nothing of {experiments} is measured in the configuration {', '.join(stack.variants)}",
        remedy=f"--config {' or '.join(others)}" if others else "another --stack",
    )


def _batches(wanted: list[tuple[Experiment, str]], guest: Guest) -> Iterator[tuple[tuple[Experiment, str], ...]]:
    """Deal what `guest` is to perform out to machines, in order."""
    batch: list[tuple[Experiment, str]] = []
    operations = 0
    for experiment, config in wanted:
        count = len(experiment.performed_by(guest))
        if batch and operations + count > OPERATIONS:
            yield tuple(batch)
            batch, operations = [], 0
        batch.append((experiment, config))
        operations += count
    if batch:
        yield tuple(batch)


def _cell(job: Job, run: _Run) -> Cell:
    return Cell(job.stack.configured(run.variant), run.level, run.guest, run.experiments, job.ops)


def inputs(builder: Builder, stack: Stack, seconds: float) -> Inputs:
    """All that led to the rows of `stack`; `seconds` is what the measurement took."""
    builders = {"": builder}
    if upstream := [each for each in _configured(stack) if not each.patched]:
        builders["unpatched "] = builder.of(upstream[0])
    bases = {name: builder.source(name) for name in COMPONENTS if name != "guest"}
    levels = enumerate(stack.levels[1:], 1)
    return Inputs(
        bases={name: Base(version=source.version, origin=source.origin) for name, source in bases.items()},
        series={name: [commit for _, commit in builder.applied(name).patches] for name in SERIES},
        digests={
            **{name: builder.entry(name).digest for name in ("bochs", "guest")},
            "initrd": builder.initrd.digest,
            **{f"{kind}{name}": made.entry(name).digest for kind, made in builders.items() for name in UNPATCHED},
            **{f"{kind}files": made.artifacts.files.digest for kind, made in builders.items()},
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


def _with_packages(made_of: Inputs, builder: Builder) -> Inputs:
    """The programs of the workloads as well."""
    versions = {name: builder.packages.versions[name] for name in PACKAGES}
    bases = {name: Base(version=version, origin="package") for name, version in versions.items()}
    digests = {"workloads": builder.workloads.digest}
    return made_of.model_copy(update={"bases": {**made_of.bases, **bases}, "digests": {**made_of.digests, **digests}})


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
