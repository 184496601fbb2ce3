# SPDX-License-Identifier: GPL-2.0-or-later
"""From bases to results: which series goes on which base, and which recipe makes what, all of it lazily."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from dvhbuild import packages
from dvhbuild.bases import Source, load_bases, obtain
from dvhbuild.errors import UserError
from dvhbuild.image import CdRecipe, FilesRecipe, InitrdRecipe, ModulesDiskRecipe, TestsRecipe
from dvhbuild.machine import bochs
from dvhbuild.packages import Packages
from dvhbuild.recipes import (
    BochsRecipe,
    BusyboxRecipe,
    GuestRecipe,
    IperfRecipe,
    KernelRecipe,
    KvmModulesRecipe,
    ModularKernelRecipe,
    QemuRecipe,
    QtestsRecipe,
    SelftestsRecipe,
    WorkloadsRecipe,
)
from dvhbuild.recipes.workloads import PACKAGES
from dvhbuild.series import Applied, Imported, Series, apply, import_base, load_series
from dvhbuild.settings import Settings
from dvhbuild.stack import Stack
from dvhbuild.store import Entry, Recipe, Store, digest_files

COMPONENTS = ("linux", "qemu", "bochs", "busybox", "guest")
UNPATCHED: Mapping[str, tuple[str, ...]] = {
    "linux": (),
    "qemu": ("0001-pc-bios-Skip-edk2-images-that-the-source-tree-lacks.patch",),
}
"""What a stack that is not patched has as it is upstream; but for patches without which it does not build."""

SERIES = {"linux": "linux/6.12", "qemu": "qemu/10.0", "bochs": "bochs/3.0"}
"""Which directory below `patches` belongs to a base; busybox has none."""

FRAGMENTS = {
    "linux": ("common", "hypervisor", "kvm", "guest"),
    "linux-debug": ("common", "hypervisor", "kvm", "guest", "debug"),
    "linux-modular": ("common", "hypervisor", "kvm-modules", "guest"),
    "linux-posted-msi": ("common", "guest", "posted-msi"),
}
"""What each kernel's configuration is put together from, in `kernel-configs`."""


@dataclass(frozen=True)
class Artifacts:
    """All that a stack of levels starts from."""

    bochs: Entry
    linux: Entry
    qemu: Entry
    guest: Entry
    initrd: Entry
    files: Entry


@dataclass(frozen=True)
class Builder:
    """Looks things up and builds them as they are asked for; what was built before costs milliseconds.

    With `debug`, Linux is one that looks for bugs of its own; with `modular`, one that an edit of KVM leaves as it is,
    and KVM are `modules_disk`. If not `patched`, Linux and QEMU are as UNPATCHED says.
    """

    settings: Settings
    debug: bool = False
    patched: bool = True
    modular: bool = False
    _sources: dict[str, Source] = field(default_factory=dict, init=False, repr=False, compare=False)
    _applied: dict[str, Applied] = field(default_factory=dict, init=False, repr=False, compare=False)

    @cached_property
    def store(self) -> Store:
        return Store(self.settings)

    def source(self, name: str, *, refresh: bool = False) -> Source:
        """The source of base `name`: from the user, a folder of downloads, upstream or Debian."""
        if refresh or name not in self._sources:
            self._sources[name] = obtain(load_bases()[name], self.settings, refresh=refresh)
        return self._sources[name]

    def imported(self, name: str) -> Imported:
        return import_base(self.source(name), self.settings)

    def without_checkout(self, name: str) -> Builder:
        """The same, but without the user's tree for `name` if that is a checkout: it has the series in it already."""
        if not self.imported(name).patched:
            return self
        own = {component: path for component, path in self.settings.own.items() if component != name}
        return Builder(replace(self.settings, own=own), self.debug, self.patched, self.modular)

    def of(self, stack: Stack) -> Builder:
        """What builds for `stack`, which has our patches or not: this one, or one of its own."""
        return self if stack.patched == self.patched else self._unpatched

    @cached_property
    def _unpatched(self) -> Builder:
        """The same without our patches: a checkout of the user's, which has them in it, gives way to the base."""
        builder = Builder(self.settings, self.debug, patched=False)
        for name in UNPATCHED:
            builder = builder.without_checkout(name)
        return builder

    def series(self, name: str) -> Series:
        """The series on base `name`; raises UserError if there is none."""
        if name not in SERIES:
            raise UserError(f"{name}: no series", remedy=f"one of: {', '.join(SERIES)}")
        return load_series(self.settings.root / "patches" / SERIES[name])

    def applied(self, name: str) -> Applied:
        """Base `name` with its series on top."""
        if name not in self._applied:
            imported = self.imported(name)
            if name in SERIES:
                series = self.series(name)
                if not self.patched and name in UNPATCHED:
                    series = series.first(UNPATCHED[name])
                self._applied[name] = apply(imported, series, self.settings)
            else:
                self._applied[name] = Applied(imported.repo, imported.commit, imported.commit, imported.tree, ())
        return self._applied[name]

    def recipe(self, name: str) -> Recipe:
        """The recipe of component `name`; raises UserError if there is no such component."""
        root = self.settings.root
        if name == "linux":
            return self.kernel()
        if name == "qemu":
            configs = root / "qemu-configs"
            recipe = QemuRecipe(self.applied(name), configs / "devices.mak", configs / "configure.options")
            return recipe if self.patched else replace(recipe, name="qemu-unpatched")
        if name == "bochs":
            return BochsRecipe(self.applied(name))
        if name == "busybox":
            return BusyboxRecipe(self.applied(name))
        if name == "guest":
            return GuestRecipe(root / "guest")
        raise UserError(f"{name}: no such component", remedy=f"one of: {', '.join(COMPONENTS)}")

    def kernel(self, name: str = "") -> KernelRecipe:
        """The recipe of Linux: the levels', or the one of FRAGMENTS that is called `name`."""
        if not name and self.modular:
            return self._modular_kernel
        name = name or ("linux-debug" if self.debug else "linux")
        tree = name if self.patched else f"{name}-unpatched"
        return KernelRecipe(self.applied("linux"), self._fragments(name), tree)

    @cached_property
    def _modular_kernel(self) -> ModularKernelRecipe:
        return ModularKernelRecipe(self.applied("linux"), self._fragments("linux-modular"), "linux-modular")

    def _fragments(self, kernel: str) -> tuple[Path, ...]:
        return tuple(self.settings.root / "kernel-configs" / f"{part}.config" for part in FRAGMENTS[kernel])

    @property
    def modules_recipe(self) -> KvmModulesRecipe:
        """The recipe of KVM's modules for the kernel of `modular`."""
        return KvmModulesRecipe(self._modular_kernel)

    def modules_disk(self, *, blank: bool = False) -> Entry:
        modules = None if blank else self.store.obtain(self.modules_recipe)
        return self.store.obtain(ModulesDiskRecipe(modules))

    def entry(self, name: str, *, anew: bool = False) -> Entry:
        """Component `name`.

        A modular Linux has the digest of what came out, not of what went in: if an edited header makes the same kernel
        as before, a machine that was saved with that is as good as ever.
        """
        entry = self.store.obtain(self.recipe(name), anew=anew)
        if name == "linux" and self.modular:
            return replace(entry, digest=digest_files(entry.path / "bzImage"))
        return entry

    @cached_property
    def artifacts(self) -> Artifacts:
        """Everything, built if need be."""
        linux, qemu, bochs, guest = (self.entry(name) for name in ("linux", "qemu", "bochs", "guest"))
        iperf = self.store.obtain(IperfRecipe())
        files = self.store.obtain(FilesRecipe(linux, self.initrd, qemu, guest, iperf))
        return Artifacts(bochs, linux, qemu, guest, self.initrd, files)

    @cached_property
    def packages(self) -> Packages:
        """Those that the workloads' programs are of."""
        return packages.obtain(PACKAGES, self.settings)

    @cached_property
    def workloads(self) -> Entry:
        """What the workloads run, which is downloaded if it must be."""
        return self.store.obtain(WorkloadsRecipe(self.packages))

    @cached_property
    def workloads_disk(self) -> Entry:
        """The guests' files, and what the workloads run."""
        made, iperf = self.artifacts, self.store.obtain(IperfRecipe())
        return self.store.obtain(FilesRecipe(made.linux, made.initrd, made.qemu, made.guest, iperf, self.workloads))

    @cached_property
    def initrd(self) -> Entry:
        return self.store.obtain(InitrdRecipe(self.entry("busybox"), self.entry("guest")))

    def selftests(self, patterns: tuple[str, ...]) -> Entry:
        """The KVM selftests whose names match one of `patterns`."""
        return self.store.obtain(SelftestsRecipe(self.applied("linux"), patterns))

    def qtests(self, patterns: tuple[str, ...], *, sanitize: bool) -> Entry:
        """QEMU with those of its qtests whose names match one of `patterns`."""
        options = self.settings.root / "qemu-configs" / "qtests.options"
        return self.store.obtain(QtestsRecipe(self.applied("qemu"), options, patterns, sanitize))

    def tests_disk(self, selftests: Entry) -> Entry:
        return self.store.obtain(TestsRecipe(selftests))

    def cd(self, stack: Stack) -> Entry:
        """L0's boot CD for `stack`, with the emulated machine's kernel parameters and the stack's own."""
        append = f"{bochs.APPEND} {stack.levels[0].append}".strip()
        recipe = CdRecipe(self.entry("linux"), self.initrd, append)
        return self.store.obtain(recipe)
