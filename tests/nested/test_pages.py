# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands of README and of the pages beside it, run as they are written, in a clone of this checkout."""

import re
import subprocess

import pytest
from pages import BLOCK, cloned, reader

from dvhbuild.settings import ROOT

pytestmark = pytest.mark.nested

COMMENT = re.compile(r"(^|\s)#.*$", re.MULTILINE)

ELSEWHERE = {
    r"python3 noxfile\.py( -s test-\w+)?( -- .*)?": "sessions, which hand what they are given on to dvhbuild",
    r"dvhbuild boot .*": "test_boot.py has the terminal for it",
    r"dvhbuild clean": "tests/unit/test_cleaning.py; the cache is ours, too",
    r".*dvhbuild iterate .*": "test_guides.py",
    r"dvhbuild (doctor --install|series check)": "parts of sessions",
    r"dvhbuild verify ipi --fresh": "boots each configuration",
    r"dvhbuild series bisectable": "builds Linux as of each patch",
    r"dvhbuild verify( device)? --stack (vp|vp-nopi)( --ops 10000)?": "takes minutes",
    r"dvhbuild verify workloads .*": "takes minutes; test_workloads.py",
    r"dvhbuild test-kvm .*": "the session test-kvm runs all of them",
    r".*dvhbuild test-qemu.*": "builds QEMU with all of its devices",
    r"DVHBUILD_LINUX=~/linux dvhbuild verify": "test_guides.py, with another name of the tree",
    r"dvhbuild report RESULT\.json.*|echo auto .*": "stand for what a reader has",
}
"""Commands that are not run here, as regular expressions, and why."""


def commands():
    """Each once, in the order of the pages: some need what one before has made."""
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for block in BLOCK.findall(page.read_text()):
            lines = (line.strip() for line in COMMENT.sub("", block).splitlines())
            yield from (line for line in lines if line and not any(re.fullmatch(known, line) for known in ELSEWHERE))


@pytest.fixture(scope="module")
def run(builder, tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    clone = cloned(home / "dvhbuild")
    environ = reader(clone, builder.settings.cache, home)

    def run(command):
        return subprocess.run(
            ["bash", "-c", command], check=False, cwd=clone, env=environ, capture_output=True, text=True
        )

    return run


@pytest.mark.parametrize("command", dict.fromkeys(commands()))
def test_a_command_works_as_it_is_written(run, command):
    done = run(command)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
