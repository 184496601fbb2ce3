# SPDX-License-Identifier: GPL-2.0-or-later
"""Images have nothing in them of the user that makes them, and nothing of the day."""

import os
from contextlib import contextmanager

import pytest

from dvhbuild import image
from dvhbuild.process import TIME, output
from dvhbuild.recipes.workloads import CLOCKS
from dvhbuild.steps import Silent
from dvhbuild.store import Entry

UMASKS = (0o022, 0o077, 0o002)
PROGRAMS = ("busybox", "bin/agent", "bin/probe", "bin/ab", "qemu-system-x86_64", "iperf3")
DATA = ("bzImage", "initrd.cpio", "firmware/pvh.bin", "iperf/libc.so.6", "workloads/htdocs/page")


@contextmanager
def user(umask):
    before = os.umask(umask)
    try:
        yield
    finally:
        os.umask(before)


def result(directory):
    """One that has all that others have."""
    for name in (*PROGRAMS, *DATA, *(f"lib/{clock}" for clock in CLOCKS.values())):
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(0o777 if name in PROGRAMS else 0o666)
        path.write_text(name)
    (directory / "applets").write_text("busybox sh\n")
    return Entry("made", "1", directory, {})


def modes(disk, directory):
    """The modes of what is in `directory` of the ext4 `disk`, but for its own and lost+found's."""
    said = output(["debugfs", "-R", f"ls -p {directory}", disk], reporter=Silent())
    lines = (line.split("/") for line in said.splitlines() if line.startswith("/"))
    return {name: mode for _, _, mode, _, _, name, *_ in lines if name.strip(".") not in ("", "lost+found")}


@pytest.mark.parametrize("umask", UMASKS)
def test_a_guests_server_may_read_what_it_serves(umask, quiet, tmp_path):
    with user(umask):
        made = result(tmp_path / "made")
        (tmp_path / "out").mkdir()
        image.FilesRecipe(made, made, made, made, made, made).build(tmp_path / "out", quiet)
    disk = tmp_path / "out/files.img"
    assert {mode for name, mode in modes(disk, "/").items() if "." not in name} == {"040755", "100755", "100644"}
    assert modes(disk, "/")["workloads"] == modes(disk, "/workloads")["htdocs"] == "040755"
    assert modes(disk, "/workloads/htdocs") == {"page": "100644"}
    assert set(modes(disk, "/bin").values()) == {"100755"}


def test_a_disk_of_selftests_leaves_them_as_they_are(quiet, tmp_path):
    with user(0o077):
        made = result(tmp_path / "made")
    before = (made.path / "bin/ab").stat()
    (tmp_path / "out").mkdir()
    image.TestsRecipe(made).build(tmp_path / "out", quiet)
    after = (made.path / "bin/ab").stat()
    assert modes(tmp_path / "out/files.img", "/")["ab"] == "100755"
    assert (after.st_mode, after.st_mtime) == (before.st_mode, before.st_mtime)


def test_all_initrds_of_the_same_programs_are_the_same(quiet, tmp_path):
    initrds = set()
    for umask in UMASKS:
        with user(umask):
            out = tmp_path / f"out{umask}"
            out.mkdir()
            made = result(tmp_path / f"made{umask}")
            image.InitrdRecipe(made, made).build(out, quiet)
        initrds.add((out / "initrd.cpio").read_bytes())
    (initrd,) = initrds
    assert int(initrd[46:54], 16) == TIME  # as cpio(5) has it
