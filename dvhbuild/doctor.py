# SPDX-License-Identifier: GPL-2.0-or-later
"""What this machine lacks, and how to get it: the tools and files that the stages need, by Debian's package names."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dvhbuild.errors import HostError
from dvhbuild.process import run, search_path
from dvhbuild.settings import Settings
from dvhbuild.steps import step

FREE = 20 << 30
"""Bytes that sources, build trees and saved states take, with some to spare."""


@dataclass(frozen=True)
class Need:
    """One tool (a program on PATH) or file (an absolute path), and the package that brings it.

    `elsewhere` is where another release of the package has the file.
    """

    package: str
    probe: str
    elsewhere: str = ""

    def met(self) -> bool:
        if not self.probe.startswith("/"):
            return shutil.which(self.probe, path=search_path()) is not None
        return any(Path(place).exists() for place in (self.probe, self.elsewhere) if place)


def _library(name: str) -> str:
    """Where Debian keeps a development file of the machine's own architecture."""
    return f"/usr/lib/x86_64-linux-gnu/{name}"


NEEDS = (
    Need("gcc", "gcc"),
    Need("g++", "g++"),
    Need("make", "make"),
    Need("libc6-dev", "/usr/include/stdio.h"),
    Need("ccache", "ccache"),
    Need("git", "git"),
    Need("flex", "flex"),
    Need("bison", "bison"),
    Need("bc", "bc"),
    Need("lz4", "lz4"),
    Need("bzip2", "bzip2"),
    Need("xz-utils", "xz"),
    Need("cpio", "cpio"),
    Need("perl", "perl"),
    Need("pkg-config", "pkg-config"),
    Need("libelf-dev", "/usr/include/libelf.h"),
    Need("libglib2.0-dev", _library("libglib-2.0.a")),
    Need("libpcre2-dev", _library("libpcre2-8.a")),
    Need("zlib1g-dev", _library("libz.a")),
    Need("libfdt-dev", _library("libfdt.a")),
    Need("libcap-ng-dev", _library("libcap-ng.a")),
    Need("libattr1-dev", _library("libattr.a")),
    Need("e2fsprogs", "mke2fs"),
    Need("xorriso", "xorriso"),
    Need("isolinux", "/usr/lib/ISOLINUX/isolinux.bin"),
    Need("syslinux-common", "/usr/lib/syslinux/modules/bios/ldlinux.c32"),
    Need("bochsbios", "/usr/share/bochs/BIOS-bochs-latest"),
    Need("vgabios", "/usr/share/vgabios/vgabios.bin"),
    Need("seabios", "/usr/share/seabios/bios-256k.bin"),
    Need("qemu-system-data", "/usr/share/qemu/pvh.bin"),
    Need("iperf3", "/usr/bin/iperf3"),
    Need("ipxe-qemu", "/usr/lib/ipxe/qemu/efi-e1000e.rom", elsewhere="/usr/share/qemu/efi-e1000e.rom"),
)

CHECKERS = (Need("sparse", "sparse"),)
"""What only those need who check patches."""


@dataclass(frozen=True)
class Finding:
    """One thing looked at: what, whether it is well, and what to do if not."""

    what: str
    well: bool
    remedy: str = ""


def examine(settings: Settings, needs: Sequence[Need] = NEEDS) -> tuple[Finding, ...]:
    """Look at every need, the disk and the cores; changes nothing."""
    found = [Finding(f"{need.probe} ({need.package})", need.met(), f"apt-get install {need.package}") for need in needs]
    free = shutil.disk_usage(_existing_parent(settings.cache)).free
    gib = f"{free / (1 << 30):.0f} GiB free for {settings.cache}"
    found.append(Finding(gib, free >= FREE or _is_filled(settings), "set DVHBUILD_CACHE to a disk with 20 GiB free"))
    return tuple(found)


def install(
    settings: Settings, needs: Sequence[Need] = NEEDS, find: Callable[[str], str | None] = shutil.which
) -> None:
    """Install the packages of the needs that are not met, through apt; raises HostError if that cannot be."""
    packages = [need.package for need in needs if not need.met()]
    if not packages:
        return
    sudo = () if os.geteuid() == 0 else ("sudo", "-n")
    if not find("apt-get") or (sudo and not find("sudo")):
        raise HostError(f"missing: {', '.join(packages)}", remedy="install these (Debian's names) as root")
    log = settings.logs / "doctor.log"
    if sudo:
        subprocess.run(("sudo", "-v"), check=False)  # may ask for a password: here, in the foreground
    as_root = (*sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q")
    with step(settings.reporter, f"install {len(packages)} packages: {packages[0]} ...", log):
        run([*as_root, "update"], reporter=settings.reporter, log=log)
        words = [*as_root, "install", "-y", "--no-install-recommends", *packages]
        run(words, reporter=settings.reporter, log=log)
    missing = [f"{need.probe} ({need.package})" for need in needs if not need.met()]
    if missing:
        raise HostError(f"still missing after installation: {', '.join(missing)}", log=log)


def demand(needs: Sequence[Need]) -> None:
    """Raise HostError, which names it, if one is not met."""
    for need in needs:
        if not need.met():
            remedy = f"dvhbuild doctor --install --patches, or: apt-get install {need.package}"
            raise HostError(f"{need.probe}: not found", remedy=remedy)


def _existing_parent(path: Path) -> Path:
    return next(parent for parent in (path, *path.parents) if parent.exists())


def _is_filled(settings: Settings) -> bool:
    """The cache holds a build already: what it needs is there."""
    return any((settings.cache / "store").glob("linux-*"))
