# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel configuration fragment must stick, every symbol of it."""

from pathlib import Path

import pytest

from dvhbuild.build import FRAGMENTS
from dvhbuild.errors import UserError
from dvhbuild.recipes.kernel import check_config, symbols
from dvhbuild.settings import ROOT

CONFIG = "CONFIG_KVM=y\n# CONFIG_SMP is not set\nCONFIG_NR_CPUS=64\n"
FRAGMENT = Path("kernel-configs/x.config")


def test_symbols_of_a_fragment():
    assert symbols("# a comment\nCONFIG_A=y\n# CONFIG_B is not set\n") == {"CONFIG_A": "y", "CONFIG_B": "n"}


@pytest.mark.parametrize("line", ["CONFIG_KVM=y", "# CONFIG_SMP is not set", "# CONFIG_ABSENT is not set", ""])
def test_what_stuck_is_well(line):
    check_config({FRAGMENT: line}, CONFIG)


@pytest.mark.parametrize("line", ["CONFIG_KVM=m", "CONFIG_SMP=y", "CONFIG_ABSENT=y", "# CONFIG_KVM is not set"])
def test_what_did_not_stick_is_named_with_its_file(line):
    with pytest.raises(UserError, match=r"kernel-configs/x\.config: CONFIG_\w+=\S+ did not stick"):
        check_config({FRAGMENT: line}, CONFIG)


@pytest.mark.parametrize("kernel", FRAGMENTS)
def test_the_fragments_of_a_kernel_do_not_contradict_each_other(kernel):
    seen = {}
    for part in FRAGMENTS[kernel]:
        for name, value in symbols((ROOT / "kernel-configs" / f"{part}.config").read_text()).items():
            assert seen.setdefault(name, value) == value, f"{part}: {name}"


def test_every_fragment_is_part_of_a_kernel():
    used = {part for parts in FRAGMENTS.values() for part in parts}
    assert {path.stem for path in (ROOT / "kernel-configs").glob("*.config")} == used
