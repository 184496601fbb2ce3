# SPDX-License-Identifier: GPL-2.0-or-later
"""The guides' commands, run as they are written, in a clone of this checkout."""

import re
import subprocess
from contextlib import ExitStack

import pytest
from pages import BLOCK, cloned, reader
from watched import Watched

from dvhbuild import result
from dvhbuild.lab import bring_up
from dvhbuild.settings import ROOT
from dvhbuild.stack import load_stack

pytestmark = pytest.mark.nested

IN_A_LEVEL = re.compile(r"^```sh l(\d)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def heard():
    """What `dvhbuild iterate` says, a round each."""
    return []


@pytest.fixture
def follow(builder, tmp_path, heard):
    """Does what a guide says; returns the clone in which it was done."""
    clone = cloned(tmp_path / "dvhbuild")
    environ = reader(clone, builder.settings.cache, tmp_path)
    watched = []

    def run(guide, **variables):
        """Variables of the environment are what the guide's reader would set."""
        blocks = BLOCK.findall((clone / "docs/guides" / guide).read_text())
        assert blocks
        for block in blocks:
            shell = ["bash", "-eu", "-c", block]
            if " iterate " in block:  # goes on in a terminal of its own
                watched.append(beside.enter_context(Watched(shell, tmp_path / "said", environ | variables, clone)))
                heard.append(watched[0].hear())
                continue
            done = subprocess.run(
                shell, check=False, cwd=clone, env=environ | variables, capture_output=True, text=True
            )
            assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
            heard.extend(each.hear() for each in watched)
        return clone

    with ExitStack() as beside:
        yield run


def test_an_operation_is_added(follow):
    clone = follow("add-an-operation.md")
    rows = [row for row in result.read(clone / "wrmsr.json").rows if row.operation == "wrmsr"]
    assert [(row.level, row.l0_exits_per_op, row.l1_entries_per_op) for row in rows] == [(1, 1, 0), (2, 3, 2)]
    assert {row.wrong for row in rows} == {0}


def test_a_tree_of_ones_own_is_measured(follow):
    clone = follow("own-tree.md")
    made = result.read(clone / "ipi.json")
    assert made.inputs.bases["linux"].origin.endswith("dvh-linux")
    assert {row.operation for row in made.rows} >= {"ipi", "linux-ipi"}


def upstream(builder, name, directory):
    """A git tree of `name` without our patches."""
    applied = builder.applied(name)
    subprocess.run(["git", "clone", "-q", "--shared", "--no-checkout", applied.repo, directory], check=True)
    subprocess.run(["git", "-C", directory, "checkout", "-q", "-B", "work", applied.base_commit], check=True)
    return str(directory)


def head_tree(directory):
    words = ["git", "-C", directory, "rev-parse", "HEAD^{tree}"]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


def test_the_series_apply_to_trees_by_hand(builder, follow, tmp_path):
    trees = {name: upstream(builder, name, tmp_path / name) for name in ("linux", "qemu")}
    who = {f"GIT_{role}_{what}": "x@y" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    follow("real-hardware.md", DVHBUILD=str(ROOT), LINUX=trees["linux"], QEMU=trees["qemu"], **who)
    assert {name: head_tree(tree) for name, tree in trees.items()} == {
        name: builder.applied(name).tree for name in trees
    }


def test_a_host_and_its_guest_hypervisor_say_that_they_use_dvh(builder, tmp_path):
    blocks = IN_A_LEVEL.findall((ROOT / "docs/guides/real-hardware.md").read_text())
    with bring_up(builder, load_stack("matrix").configured("dvh"), 2, tmp_path) as nest:
        nest.top.agent.check("dvhload ipi 100")
        said = [nest.levels[int(level)].agent.check(block) for level, block in blocks]
    offered, told, used, counted = said
    assert offered.split() == [
        f"{name}:Y" for name in ("nested", "enable_apicv", "nested_ipiv", "nested_apic_timer_virt")
    ]
    assert (told, used.split()) == ("", ["enable_ipiv:Y", "apic_timer_virt:Y", "halt_in_guest:auto"])
    counts = dict(line.rpartition("/")[2].split(":") for line in counted.split())
    assert int(counts["nested_ipiv"]) >= 100
    assert min(int(counts[f"nested_timer_{what}"]) for what in ("armed", "fired")) > 0
    assert int(counts["nested_run"]) > 0


def test_the_paper_is_reproduced(follow):
    clone = follow("reproduce-the-paper.md")
    text = (clone / "paper.md").read_text()
    assert [name for name in ("Hypercall", "DevNotify", "ProgramTimer", "SendIPI") if f"| {name} |" not in text] == []
    assert (clone / "paper.html").stat().st_size > 100_000


def test_a_patch_is_iterated_on(follow, heard):
    follow("iterate.md")
    first, edited, back = heard
    assert "compared" not in first
    assert re.search(r"^ *ipi +on +2 +1 → 4 +0 → 3 ", edited, re.MULTILINE)
    assert not re.search(r"^ *\S+ +off +2 +(\d+ +)?\d+ →", edited, re.MULTILINE)  # instructions may
    assert "8 rows unchanged" in back
    assert "measured before" in back
