# SPDX-License-Identifier: GPL-2.0-or-later
"""The guides' commands, run as they are written, in a clone of this checkout."""

import os
import re
import subprocess
import sys

import pytest

from dvhbuild import result
from dvhbuild.settings import ROOT

pytestmark = pytest.mark.nested

BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def follow(builder, tmp_path):
    """Does what a guide says; returns the clone in which it was done."""
    clone, programs = tmp_path / "dvhbuild", tmp_path / "bin"
    subprocess.run(["git", "clone", "--quiet", "--shared", ROOT, clone], check=True)
    programs.mkdir()
    (programs / "dvhbuild").write_text(f'#!/bin/sh\nexec {sys.executable} -m dvhbuild "$@"\n')
    (programs / "dvhbuild").chmod(0o755)
    environ = {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(clone),
        "DVHBUILD_CACHE": str(builder.settings.cache),
        "HOME": str(tmp_path),
    }

    def run(guide):
        blocks = BLOCK.findall((clone / "docs/guides" / guide).read_text())
        assert blocks
        for block in blocks:
            shell = ["bash", "-eu", "-c", block]
            done = subprocess.run(shell, check=False, cwd=clone, env=environ, capture_output=True, text=True)
            assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        return clone

    return run


def test_an_operation_is_added(follow):
    clone = follow("add-an-operation.md")
    rows = [row for row in result.read(clone / "wrmsr.json").rows if row.operation == "wrmsr"]
    assert [(row.level, row.l0_exits_per_op, row.l1_entries_per_op) for row in rows] == [(1, 1, 0), (2, 3, 2)]
    assert {row.wrong for row in rows} == {0}
