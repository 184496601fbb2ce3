# SPDX-License-Identifier: GPL-2.0-or-later
"""What recipes build with: part of their inputs, and nothing that was built with something else is used again."""

import sys
from pathlib import Path

import pytest

from dvhbuild.errors import HostError
from dvhbuild.recipes import BusyboxRecipe, GuestRecipe, KernelRecipe, QemuRecipe, SelftestsRecipe, common, qemu
from dvhbuild.recipes.common import work_area
from dvhbuild.series import Applied


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """A directory of stand-ins that comes before PATH; and one of libraries, which the stand-in for gcc finds."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "lib").mkdir()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin/python"))
    for name in ("gcc", "ld"):
        said = f"case $1 in --version) echo {name} as it was;; *) echo {tmp_path}/lib/${{1#*=}};; esac"
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{said}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    for name in qemu.LIBRARIES:
        (tmp_path / "lib" / name).write_text("as it was")
    forget()
    yield tmp_path
    forget()


def forget():
    common.takes_plugins.cache_clear()
    common.compiler.cache_clear()
    common._library.cache_clear()


def upgrade(path: Path) -> None:
    path.write_text(path.read_text().replace("as it was", "newer"))
    forget()


@pytest.fixture
def recipes(tools, monkeypatch, imported):
    (tools / "guest").mkdir()
    (tools / "file").touch()
    monkeypatch.setattr(qemu, "firmware", lambda: (tools / "file",))
    monkeypatch.setattr(SelftestsRecipe, "_part", lambda self: self.source)
    source = Applied(imported.repo, imported.commit, imported.commit, imported.tree, ())
    return (
        *(BusyboxRecipe(source), GuestRecipe(tools / "guest"), SelftestsRecipe(source, ("*",))),
        QemuRecipe(source, tools / "file", tools / "file"),
    )


@pytest.mark.parametrize("what", ["bin/gcc", "bin/ld", "lib/libc.a"])
def test_tools_and_libc_are_inputs_of_what_is_static(recipes, tools, what):
    before = [recipe.inputs() for recipe in recipes]
    upgrade(tools / what)
    assert not [recipe.name for recipe, old in zip(recipes, before, strict=True) if recipe.inputs() == old]


def test_what_qemu_finds_by_itself_is_an_input(recipes, tools, monkeypatch):
    *_, recipe = recipes
    monkeypatch.setattr(qemu, "VALGRIND", tools / "valgrind.h")
    before = recipe.inputs()
    (tools / "valgrind.h").touch()
    assert recipe.inputs() != before


def test_what_kconfig_notes_of_gcc_is_an_input(tools, imported):
    recipe = KernelRecipe(Applied(imported.repo, imported.commit, imported.commit, imported.tree, ()), ())
    before = recipe.inputs()
    (tools / "lib/plugin/include").mkdir(parents=True)
    upgrade(tools / "bin/gcc")
    both = {**before, "compiler": "gcc newer"}
    assert recipe.inputs() == both
    (tools / "lib/plugin/include/plugin-version.h").touch()
    forget()
    assert recipe.inputs() != both


def test_a_library_that_is_missing_is_named(recipes, tools):
    (tools / "lib/libc.a").unlink()
    with pytest.raises(HostError, match=r"^libc\.a: not installed"):
        recipes[0].inputs()


def test_what_other_tools_have_built_is_built_anew(tools, imported, quiet):
    source = Applied(imported.repo, imported.commit, imported.commit, imported.tree, ())
    for changed, there in ((None, False), (None, True), ("bin/ld", False), ("lib/libc.a", False), (None, True)):
        if changed:
            upgrade(tools / changed)
        with work_area("some", source, quiet, "libc.a") as work:
            assert (work.build / "main.o").exists() == there
            assert (work.tree / "VERSION").exists()
            (work.build / "main.o").touch()


def test_meson_is_told_of_the_compiler_that_is_an_input(recipes, tools, quiet):
    out = tools / "out"
    (tools / "bin/python").write_text(f"#!/bin/sh\necho $4 $CC >> {tools}/ran; mkdir -p {out}/build\n")
    (tools / "bin/python").chmod(0o755)
    recipes[1].build(out, quiet)
    assert (tools / "ran").read_text().splitlines()[0] == "--prefix=/ gcc"
