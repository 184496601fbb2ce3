# SPDX-License-Identifier: GPL-2.0-or-later
"""The short way from an edit of KVM to its effect: new modules in a saved machine, a Linux as L1, the probe as L2."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pygit2

from dvhbuild.build import Builder
from dvhbuild.cells import check_nested
from dvhbuild.crew import machines
from dvhbuild.errors import CancelledError, UserError
from dvhbuild.experiments.model import Experiment
from dvhbuild.lab import StateRecipe, bring_up, run_directory
from dvhbuild.measure import measure
from dvhbuild.recipes.modules import MODULES, is_kernel, is_kvm
from dvhbuild.result import Row
from dvhbuild.settings import Settings
from dvhbuild.stack import Level, Parameters, Stack
from dvhbuild.steps import Silent
from dvhbuild.store import digest_files

MODULES_DAYS = 14.0
MODULES_BYTES = 1 << 30
"""How long modules are kept unused, and how much they may take together."""

ASK_SECONDS = 0.5

COMPLAINTS = 40
"""Lines of a compiler's that are shown."""

FOLDER = "/run/kvm"
DISK = f"{FOLDER}.disk"
"""Where a level has its modules, and a link to the disk with them."""

_SERIAL = "kvm-modules"
_FOUND = f"/dev/$(cd /sys/block && grep -lx {_SERIAL} vd*/serial | cut -d/ -f1)"
"""The disk with the modules, by which a guest's shell finds it: a stack may have given it more disks."""

Scope = Literal["nothing", "modules", "kernel"]


@dataclass(frozen=True)
class Plan:
    """What to measure, `ops` times each operation: those that the probe performs, at the highest level of `stack`."""

    stack: Stack
    experiments: tuple[Experiment, ...]
    ops: int

    @property
    def level(self) -> int:
        return len(self.stack.levels) - 1

    def variants(self) -> dict[str, tuple[tuple[Experiment, str], ...]]:
        """The variants of the stack that it takes, a machine each: the experiments, with their rows' config."""
        found = {}
        for variant in self.stack.variants:
            if not self.stack.configured(variant).patched:
                continue
            configs = [(experiment, experiment.config(self.level, variant)) for experiment in self.experiments]
            if performed := tuple((experiment, config) for experiment, config in configs if config):
                found[variant] = performed
        return found


def plan(stack: Stack, experiments: Sequence[Experiment], ops: int) -> Plan:
    """Raises UserError for what cannot be measured this way."""
    if stack.machine != "bochs":
        raise UserError(f"{stack.name}: runs on {stack.machine}, whose states cannot be saved")
    if len(stack.levels) < 3:
        raise UserError(f"{stack.name}: this stack has no nested guest")
    for experiment in experiments:
        if not experiment.performed_by("probe"):
            raise UserError(
                f"{experiment.name}: the probe, which is quickly there, does not perform it",
                remedy=f"dvhbuild verify {experiment.name}",
            )
    made = Plan(stack, tuple(experiments), ops)
    if not made.variants():
        raise UserError(f"{stack.name}: none of this is measured in the configuration {', '.join(stack.variants)}")
    return made


def scope(paths: Iterable[str]) -> tuple[Scope, str]:
    """What has to be built after a change of the files `paths` of a tree, and the first file that is why ("")."""
    kernel = [path for path in paths if is_kernel(path)]
    if kernel:
        return "kernel", kernel[0]
    modules = [path for path in paths if is_kvm(path)]
    return ("modules", modules[0]) if modules else ("nothing", "")


def changed(builder: Builder, before: str, after: str) -> tuple[str, ...]:
    """The files that differ between the trees `before` and `after` of Linux, by path."""
    repository = pygit2.Repository(str(builder.applied("linux").repo))
    old, new = (repository[tree].peel(pygit2.Tree) for tree in (before, after))
    deltas = old.diff_to_tree(new).deltas
    return tuple(sorted({file.path for delta in deltas for file in (delta.old_file, delta.new_file)}))


def with_modules(stack: Stack) -> Stack:
    """The stack with a kernel whose KVM are modules: each hypervisor loads them before it starts a guest.

    L0, which may be one that was saved at its prompt, does so when it gets ready for L1; and hands the disk on.
    """
    first, *guests, last = stack.levels
    levels = [first.model_copy(update={"parameters": {}})]
    host = _load(first, "/dev/sdb")
    for guest in guests:
        updates = {
            "host": (*host, *guest.host),
            "devices": (*guest.devices, *_disk()),
            "setup": (*_load(guest, _FOUND), *guest.setup),
            "parameters": {},
        }
        levels.append(guest.model_copy(update=updates))
        host = ()
    levels.append(last.model_copy(update={"host": (*host, *last.host)}))
    return stack.model_copy(update={"levels": tuple(levels)})


def _disk() -> tuple[str, ...]:
    """The modules' disk as a guest gets it, behind all others."""
    drive = f"if=none,id=modules,format=raw,readonly=on,file={DISK}"
    return ("-drive", drive, "-device", f"virtio-blk-pci,drive=modules,serial={_SERIAL},addr=0x1c")


def _load(level: Level, disk: str) -> tuple[str, ...]:
    """The shell commands that load the modules from `disk`, with what the level's kernel would be told if it had KVM
    built in, and then set the level's parameters.
    """
    told: Parameters = {}
    for word in level.append.split():
        name, _, value = word.partition("=")
        told[name.replace("-", "_")] = value
    commands = [f"mkdir {FOLDER} && ln -s {disk} {DISK} && mount -t ext4 -o ro {DISK} {FOLDER}"]
    for file in MODULES:
        module = file.removesuffix(".ko").replace("-", "_")
        options = [
            name.partition(".")[2] + f"={value}" for name, value in told.items() if name.startswith(f"{module}.")
        ]
        commands.append(" ".join(["insmod", f"{FOLDER}/{file}", *options]))
    settable = ((name.replace(".", "/parameters/"), value) for name, value in level.parameters.items())
    return (*commands, *(f"echo {value} > /sys/module/{name}" for name, value in settable))


@dataclass(frozen=True)
class Built:
    """A state of the tree that was built: equal digests are equal kernels and modules; what the compiler warned of."""

    digest: str
    warnings: tuple[str, ...]


def builder(settings: Settings) -> Builder:
    """A builder that sees the user's tree as it is now."""
    return Builder(replace(settings, cancelled=threading.Event()), modular=True)


def tree(settings: Settings) -> str:
    """The id of the user's tree as it is now."""
    return builder(replace(settings, reporter=Silent())).applied("linux").tree


def prepare(settings: Settings) -> None:
    """Build what an edit of Linux does not touch."""
    for name in ("bochs", "qemu", "guest"):
        builder(settings).entry(name)


def build(builder: Builder) -> Built:
    """Build the kernel, if need be, and KVM's modules; raises HostError, with its log, if the tree does not compile."""
    kernel = builder.entry("linux")
    built_before = builder.store.find(builder.modules_recipe)
    modules = built_before or builder.store.obtain(builder.modules_recipe)
    builder.store.prune("kvm-modules", max_days=MODULES_DAYS, max_bytes=MODULES_BYTES)
    files = digest_files(*(modules.path / name for name in MODULES))
    return Built(
        f"{kernel.digest} {files}", () if built_before else complaints(builder.modules_recipe.log(builder.settings))
    )


def complaints(log: Path) -> tuple[str, ...]:
    """What the compiler said, in the log of a build; of much, the beginning."""
    said = log.read_text(errors="replace").splitlines()
    lines = [line for line in said if line.strip() and not line.startswith(("$ ", "make"))]
    more = (f"... ({len(lines) - COMPLAINTS} more lines: {log})",) if len(lines) > COMPLAINTS else ()
    return (*lines[:COMPLAINTS], *more)


def perform(builder: Builder, job: Plan, is_old: Callable[[], bool]) -> tuple[Row, ...]:
    """Measure, each variant on a machine of its own, side by side.

    Raises what `measure` does, the first there is; CancelledError as soon as `is_old`, which is asked now and then.
    """
    variants = {variant: with_modules(job.stack.configured(variant)) for variant in job.variants()}
    builder.modules_disk()
    for stack in variants.values():  # what they share is made by one thread
        builder.store.obtain(StateRecipe(builder, stack, 0))
    with ThreadPoolExecutor(machines()) as pool:
        try:
            futures = [pool.submit(_measure, builder, job, variant, stack) for variant, stack in variants.items()]
            while wait(futures, ASK_SECONDS, FIRST_EXCEPTION).not_done and not any(map(_failed, futures)):
                if is_old():
                    raise CancelledError("the tree has changed again: not measured to the end")
            for future in sorted(futures, key=_failed, reverse=True):
                future.result()
            return tuple(row for future in futures for row in future.result())
        finally:
            builder.settings.cancelled.set()


def _failed(future: Future[list[Row]]) -> bool:
    return future.done() and future.exception() is not None


def _measure(builder: Builder, job: Plan, variant: str, stack: Stack) -> list[Row]:
    directory = run_directory(builder.settings, f"iterate-{variant}")
    with bring_up(builder, stack, 0, directory) as nest:
        nest.boot(job.level - 1)
        check_nested(nest, job.level)
        return list(measure(nest, job.level, job.variants()[variant], job.ops))
