# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel is the same whichever tools the host has besides those that build it."""

import os
from dataclasses import replace

import pytest

from dvhbuild.recipes.common import work_area

pytestmark = pytest.mark.nested

TOOLS = {"rustc": "rustc 1.95.0\nLLVM version: 22.1.2", "bindgen": "bindgen 0.71.1", "pahole": "v1.29"}


def test_tools_of_the_host_that_kconfig_finds_change_nothing(builder, tmp_path, monkeypatch):
    (tmp_path / "build").mkdir()
    for name, says in TOOLS.items():
        (tmp_path / name).write_text(f"#!/bin/sh\necho '{says}'\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    recipe = builder.kernel()
    with work_area(recipe.name, recipe.source, builder.settings) as work:
        recipe.configure(replace(work, build=tmp_path / "build", log=tmp_path / "log"), builder.settings)
    config = (tmp_path / "build/.config").read_text()
    assert "CONFIG_RUSTC_VERSION=0\n" in config
    assert "CONFIG_PAHOLE_VERSION=0\n" in config
