# SPDX-License-Identifier: GPL-2.0-or-later
"""What the machines boot and read: the initrd of every level, the disk of files for guests, L0's boot CD."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dvhbuild.errors import HostError
from dvhbuild.process import TIME, run
from dvhbuild.recipes.common import recipe_digest
from dvhbuild.recipes.workloads import CLOCKS
from dvhbuild.settings import Settings
from dvhbuild.steps import step
from dvhbuild.store import Entry, digest_files

ISOLINUX = (Path("/usr/lib/ISOLINUX/isolinux.bin"), Path("/usr/lib/syslinux/modules/bios/ldlinux.c32"))
DIRECTORIES = ("bin", "dev", "dvh", "etc", "proc", "root", "run", "sys", "tmp")
SPARE = 8 << 20
"""Bytes of the files' disk beyond what its files take: ext4's own structures."""
BLOCK = 4096

MODULES = "modules.img"
MODULES_BYTES = 16 << 20
"""A disk of modules: always of this size and modified at TIME, both of which the emulator's saved states remember."""


def _log(settings: Settings, name: str) -> Path:
    settings.logs.mkdir(parents=True, exist_ok=True)
    log = settings.logs / f"build-{name}.log"
    log.write_bytes(b"")
    return log


@dataclass(frozen=True)
class InitrdRecipe:
    """One initrd for every level, not compressed: an emulated CPU copies faster than it unpacks.

    /init is the agent; /bin holds busybox under each of its names, and our tools.
    """

    busybox: Entry
    guest: Entry
    name: str = "initrd"

    def inputs(self) -> Mapping[str, str]:
        return {"busybox": self.busybox.digest, "guest": self.guest.digest, "recipe": recipe_digest(__file__)}

    def build(self, out: Path, settings: Settings) -> None:
        """Make `out`/initrd.cpio."""
        tree = out / "tree"
        for name in DIRECTORIES:
            (tree / name).mkdir(parents=True)
        shutil.copy(self.busybox.path / "busybox", tree / "bin")
        for applet in (self.busybox.path / "applets").read_text().split():
            if applet != "busybox":
                (tree / "bin" / applet).symlink_to("busybox")
        for tool in sorted((self.guest.path / "bin").iterdir()):
            if tool.name != "probe":
                shutil.copy(tool, tree / "bin")
        (tree / "init").symlink_to("bin/agent")
        (tree / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
        names = sorted(path.relative_to(tree).as_posix() for path in tree.rglob("*"))
        _settle(tree)
        (out / "names").write_text("".join(f"{name}\n" for name in names))
        archive = ["cpio", "--quiet", "--create", "--format=newc", "--reproducible", "--owner=0:0"]
        with (out / "names").open("rb") as listing:
            run(
                [*archive, "-F", out / "initrd.cpio"],
                reporter=settings.reporter,
                log=_log(settings, "initrd"),
                cwd=tree,
                stdin=listing,
            )
        shutil.rmtree(tree)
        (out / "names").unlink()


@dataclass(frozen=True)
class FilesRecipe:
    """A read-only ext4 disk, /dvh at every level: the kernel, initrd, QEMU and firmware, probe, iperf3.

    With `workloads`, those as well.
    """

    kernel: Entry
    initrd: Entry
    qemu: Entry
    guest: Entry
    iperf: Entry
    workloads: Entry | None = None
    name: str = "files"

    def inputs(self) -> Mapping[str, str]:
        more = (self.workloads,) if self.workloads else ()
        parts = (self.kernel, self.initrd, self.qemu, self.guest, self.iperf, *more)
        return {**{part.name: part.digest for part in parts}, "recipe": recipe_digest(__file__)}

    def build(self, out: Path, settings: Settings) -> None:
        """Make `out`/files.img."""
        tree = out / "tree"
        tree.mkdir()
        shutil.copy(self.kernel.path / "bzImage", tree)
        shutil.copy(self.initrd.path / "initrd.cpio", tree)
        shutil.copy(self.qemu.path / "qemu-system-x86_64", tree)
        shutil.copytree(self.qemu.path / "firmware", tree / "firmware")
        shutil.copy(self.guest.path / "bin/probe", tree)
        shutil.copytree(self.iperf.path / "iperf", tree / "iperf")
        (tree / "bin").mkdir()
        shutil.copy(self.iperf.path / "iperf3", tree / "bin")
        if self.workloads:
            shutil.copytree(self.workloads.path / "workloads", tree / "workloads")
            shutil.copytree(self.workloads.path / "bin", tree / "bin", dirs_exist_ok=True)
            for clock in set(CLOCKS.values()):
                shutil.copy(self.guest.path / "lib" / clock, tree / "workloads")
        _make_disk(tree, out / "files.img", settings)
        shutil.rmtree(tree)


@dataclass(frozen=True)
class TestsRecipe:
    """A disk in place of the guests' files: /dvh of an L0 that runs the kernel's selftests."""

    selftests: Entry
    name: str = "tests"

    def inputs(self) -> Mapping[str, str]:
        return {"selftests": self.selftests.digest, "recipe": recipe_digest(__file__)}

    def build(self, out: Path, settings: Settings) -> None:
        """Make `out`/files.img."""
        tree = out / "tree"
        shutil.copytree(self.selftests.path / "bin", tree)
        _make_disk(tree, out / "files.img", settings)
        shutil.rmtree(tree)


@dataclass(frozen=True)
class ModulesDiskRecipe:
    """A read-only ext4 disk with `modules`, or a blank one of the same size: what a machine has when it is saved.

    It may have other modules when it is restored, if it has not read the disk before.
    """

    modules: Entry | None
    name: str = "kvm-modules-disk"

    def inputs(self) -> Mapping[str, str]:
        return {"modules": self.modules.digest if self.modules else "none", "recipe": recipe_digest(__file__)}

    def build(self, out: Path, settings: Settings) -> None:
        """Make `out`/modules.img; raises HostError if the modules do not fit."""
        disk = out / MODULES
        if self.modules:
            tree = out / "tree"
            tree.mkdir()
            for module in self.modules.path.glob("*.ko"):
                shutil.copy(module, tree)
            _make_ext4(tree, disk, MODULES_BYTES // BLOCK, settings)
            shutil.rmtree(tree)
        else:
            disk.touch()
            os.truncate(disk, MODULES_BYTES)
        os.utime(disk, (TIME, TIME))


def _settle(tree: Path) -> None:
    """Give all of `tree` the modes and times that it has everywhere, as an image has them, too.

    With those of a user's umask, a guest's server that is not root might not read what it is to serve.
    """
    for path in (tree, *tree.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        os.utime(path, (TIME, TIME), follow_symlinks=False)


def _make_disk(tree: Path, image: Path, settings: Settings) -> None:
    size = sum(path.stat().st_size for path in tree.rglob("*") if path.is_file())
    with step(settings.reporter, "make the guests' disk"):
        _make_ext4(tree, image, (size * 11 // 10 + SPARE) // BLOCK, settings)


def _make_ext4(tree: Path, image: Path, blocks: int, settings: Settings) -> None:
    _settle(tree)
    mke2fs = ("mke2fs", "-q", "-t", "ext4", "-b", str(BLOCK), "-O", "^has_journal", "-m", "0", "-d", tree)
    run([*mke2fs, image, str(blocks)], reporter=settings.reporter, log=_log(settings, "files"))


@dataclass(frozen=True)
class CdRecipe:
    """L0's boot CD: isolinux, the kernel, the initrd and L0's kernel parameters."""

    kernel: Entry
    initrd: Entry
    append: str
    name: str = "cd"

    def inputs(self) -> Mapping[str, str]:
        for path in ISOLINUX:
            if not path.is_file():
                raise HostError(f"{path}: isolinux is not installed", remedy="dvhbuild doctor --install")
        return {
            "linux": self.kernel.digest,
            "initrd": self.initrd.digest,
            "append": self.append,
            "isolinux": digest_files(*ISOLINUX),
            "recipe": recipe_digest(__file__),
        }

    def build(self, out: Path, settings: Settings) -> None:
        """Make `out`/l0.iso."""
        tree = out / "tree"
        tree.mkdir()
        for path in (*ISOLINUX, self.kernel.path / "bzImage", self.initrd.path / "initrd.cpio"):
            shutil.copy(path, tree)
        config = f"default l0\nprompt 0\nlabel l0\n kernel bzImage\n initrd initrd.cpio\n append {self.append}\n"
        (tree / "isolinux.cfg").write_text(config)
        _settle(tree)
        boot = ["-b", "isolinux.bin", "-c", "boot.cat", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table"]
        argv: list[str | Path] = ["xorriso", "-as", "mkisofs", "-quiet", "-o", out / "l0.iso", *boot, tree]
        run(argv, reporter=settings.reporter, log=_log(settings, "cd"))
        shutil.rmtree(tree)
