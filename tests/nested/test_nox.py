# SPDX-License-Identifier: GPL-2.0-or-later
"""Ctrl-C on a terminal where a session of the noxfile builds: nox lets the build end in good order."""

import os
import sys
from pathlib import Path

import pexpect
import pytest
from procs import descendants, left

from dvhbuild.locks import free
from dvhbuild.series import checkout
from dvhbuild.settings import ROOT, Settings

pytestmark = pytest.mark.nested

CTRL_C = "\x03"
AT_EXIT = "trap 'exit_status=$?\n"
"""How autoconf cleans up. It shall take 1.5 s here: more than the half a second that nox gives by itself."""


def test_ctrl_c_in_a_build_leaves_no_process_no_lock_and_no_half_result(builder, tmp_path):
    tree = tmp_path / "bochs"
    checkout(builder.applied("bochs"), tree, builder.settings)
    configure = tree / "configure"
    text = configure.read_text()
    assert AT_EXIT in text
    configure.write_text(text.replace(AT_EXIT, f"{AT_EXIT}  sleep 1.5\n", 1))
    cache = tmp_path / "cache"
    built = cache / "store" / "linux-0"
    built.mkdir(parents=True)  # doctor does not ask for the space of a first build where there was one
    environ = {
        **os.environ,
        "COLUMNS": "200",
        "TERM": "xterm",
        "DVHBUILD_CACHE": str(cache),
        "DVHBUILD_BOCHS": str(tree),
    }
    words = [str(ROOT / "noxfile.py"), "-s", "build(bochs)"]
    with pexpect.spawn(sys.executable, words, env=environ, encoding="utf-8", timeout=120, dimensions=(24, 200)) as nox:
        nox.expect("configure Bochs")
        nox.expect("0:00:01")  # by then the trap is set
        started = descendants(nox.pid)
        assert any("configure" in Path(f"/proc/{pid}/cmdline").read_text() for pid in started)
        nox.send(CTRL_C)
        nox.expect_exact("dvhbuild: interrupted")
        nox.expect(pexpect.EOF)
    assert nox.exitstatus == 130
    assert not left(started)
    assert list(built.parent.iterdir()) == [built]
    settings = Settings(root=ROOT, cache=cache)
    for lock in (cache / "locks").iterdir():
        with free(settings, lock.stem) as ours:
            assert ours, f"{lock} is still held"
