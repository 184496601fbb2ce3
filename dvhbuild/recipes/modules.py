# SPDX-License-Identifier: GPL-2.0-or-later
"""Linux with KVM as modules: an edit of KVM makes these anew and leaves the kernel as it is.

A machine that was saved without them can load those of a later edit (image.ModulesDiskRecipe).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

import pygit2

from dvhbuild.recipes.common import Work, build_log, jobs, recipe_digest, work_area
from dvhbuild.recipes.kernel import KernelRecipe
from dvhbuild.settings import Settings
from dvhbuild.steps import step
from dvhbuild.store import digest_inputs

DIRECTORY = "arch/x86/kvm"
PARTS = (DIRECTORY, "virt/kvm")
"""What of a tree goes into the modules alone, Kconfig files apart: nothing else includes a file from there."""

UNUSED = ("Documentation", "tools/testing")
"""What goes neither into the kernel nor into a module."""

MODULES = ("kvm.ko", "kvm-intel.ko")
"""In the order in which they are loaded."""

_VMLINUX_OF = "vmlinux.digest"
"""The file in the build directory that says of which kernel vmlinux.o is, against which modules are checked."""


def is_kvm(path: str) -> bool:
    """Whether the file `path` of a tree goes into the modules and nothing else."""
    return _is_below(path, PARTS) and not PurePosixPath(path).name.startswith("Kconfig")


def is_kernel(path: str) -> bool:
    """Whether the kernel may depend on the file `path` of a tree."""
    return not is_kvm(path) and not _is_below(path, UNUSED)


def _is_below(path: str, directories: tuple[str, ...]) -> bool:
    return any(path.startswith(f"{directory}/") for directory in directories)


def pick(repository: pygit2.Repository, tree: pygit2.Tree, wanted: Callable[[str], bool], at: str = "") -> pygit2.Oid:
    """Make a tree of those files of `tree`, which is the directory `at` ("virt/"), that are `wanted`; returns its id.

    A directory without a file of PARTS or UNUSED in it is taken or left as a whole.
    """
    builder = repository.TreeBuilder()
    for entry in tree:
        name = str(entry.name)
        path = f"{at}{name}/" if isinstance(entry, pygit2.Tree) else at + name
        if isinstance(entry, pygit2.Tree) and _is_divided(path):
            builder.insert(name, pick(repository, entry, wanted, path), entry.filemode)
        elif wanted(path):
            builder.insert(name, entry.id, entry.filemode)
    return builder.write()


def _is_divided(directory: str) -> bool:
    """Whether files of `directory` ("virt/") may go one way and others another."""
    return _is_below(directory, PARTS) or any(part.startswith(directory) for part in (*PARTS, *UNUSED))


@dataclass(frozen=True)
class ModularKernelRecipe(KernelRecipe):
    """A kernel without KVM, whose files are not among its inputs."""

    def inputs(self) -> Mapping[str, str]:
        return {**super().inputs(), "source": self.part(is_kernel), "division": recipe_digest(__file__)}

    def part(self, wanted: Callable[[str], bool]) -> str:
        """The id of a tree with those files of the source that are `wanted`."""
        repository = pygit2.Repository(str(self.source.repo))
        return str(pick(repository, repository[self.source.commit].peel(pygit2.Tree), wanted))

    @cached_property
    def digest(self) -> str:
        """Of all that the kernel is made of."""
        return digest_inputs(self.inputs())

    def image(self, work: Work, settings: Settings) -> None:
        """As for other kernels; and remember whose vmlinux.o there is."""
        (work.build / _VMLINUX_OF).unlink(missing_ok=True)
        super().image(work, settings)
        (work.build / _VMLINUX_OF).write_text(self.digest)


@dataclass(frozen=True)
class KvmModulesRecipe:
    """KVM's modules for `kernel`."""

    kernel: ModularKernelRecipe
    name: str = "kvm-modules"

    def inputs(self) -> Mapping[str, str]:
        return {"kernel": self.kernel.digest, "kvm": self.kernel.part(is_kvm), "recipe": recipe_digest(__file__)}

    def log(self, settings: Settings) -> Path:
        """Where the compiler's words are, after a build."""
        return build_log(self.kernel.name, settings)

    def build(self, out: Path, settings: Settings) -> None:
        """Make `out`/kvm.ko and `out`/kvm-intel.ko."""
        kernel = self.kernel
        with work_area(kernel.name, kernel.source, settings) as work:
            stamp = work.build / _VMLINUX_OF
            if not stamp.is_file() or stamp.read_text() != kernel.digest:
                kernel.image(work, settings)
            with step(settings.reporter, "build KVM's modules", work.log):
                kernel.make(work, settings, jobs(), *(f"{DIRECTORY}/{module}" for module in MODULES))
            for module in MODULES:
                shutil.copy(work.build / DIRECTORY / module, out)
