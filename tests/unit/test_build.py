# SPDX-License-Identifier: GPL-2.0-or-later
"""What is built with our patches and what without, on a miniature tree."""

import shutil
from dataclasses import replace

import pytest

from dvhbuild import build
from dvhbuild.bases import Base, Upstream
from dvhbuild.build import Builder
from dvhbuild.errors import UserError
from dvhbuild.series import checkout, load_series
from dvhbuild.settings import ROOT
from dvhbuild.stack import load_stack


@pytest.fixture
def settings(source, patches, quiet, tmp_path, monkeypatch):
    """Those of a checkout whose Linux, QEMU and Bochs are the miniature tree, each with three patches."""
    upstream_release = Upstream(version="1.2.3", url=source.path.as_uri(), sha256=source.sha256)
    fields = {"files": ("tiny-{version}.tar.xz",), "version_file": "VERSION", "version_pattern": r"^([0-9.]+)$"}
    bases = {
        name: Base(name=name, version="1.2.*", upstream=upstream_release, **fields)
        for name in ("linux", "qemu", "bochs")
    }
    monkeypatch.setattr(build, "load_bases", lambda: bases)
    for series in build.SERIES.values():
        shutil.copytree(patches, tmp_path / "checkout/patches" / series)
    monkeypatch.setattr(build, "UNPATCHED", {"linux": (), "qemu": (min(patches.glob("*.patch")).name,)})
    return replace(quiet, root=tmp_path / "checkout")


def trees(builder):
    return {name: builder.applied(name).tree for name in build.SERIES}


def test_a_stack_without_our_patches_has_linux_and_qemu_as_they_are(settings):
    builder, matrix = Builder(settings), load_stack("matrix")
    assert builder.of(matrix.configured("dvh")) is builder
    unpatched = builder.of(matrix.configured("base"))
    assert unpatched.of(matrix.configured("base")) is unpatched
    same = {name for name, tree in trees(unpatched).items() if tree == trees(builder)[name]}
    assert same == {"bochs"}
    assert trees(unpatched)["linux"] == builder.imported("linux").tree


def test_what_it_does_not_build_without_is_kept(settings, patches):
    unpatched = Builder(settings).of(load_stack("matrix").configured("base"))
    (first,) = unpatched.applied("qemu").patches
    assert first == Builder(settings).applied("qemu").patches[0]
    wanted = ("0009-other.patch",)
    with pytest.raises(UserError, match="series: does not begin with 0009-other.patch"):
        load_series(patches).first(wanted)


def test_our_series_begin_with_what_it_does_not_build_without():
    for name, kept in build.UNPATCHED.items():
        assert load_series(ROOT / "patches" / build.SERIES[name]).first(kept).names == kept


def test_the_two_are_built_in_trees_of_their_own(settings):
    builder = Builder(settings)
    unpatched = builder.of(load_stack("matrix").configured("base"))
    recipes = [each.recipe(name) for name in build.UNPATCHED for each in (builder, unpatched)]
    assert [recipe.name for recipe in recipes] == ["linux", "linux-unpatched", "qemu", "qemu-unpatched"]


def test_a_checkout_of_the_series_gives_way_to_the_base_it_is_of(settings, tmp_path):
    builder = Builder(settings)
    checkout(builder.applied("linux"), tmp_path / "edit", settings)
    own = replace(settings, own={"linux": tmp_path / "edit"})
    unpatched = Builder(own).of(load_stack("matrix").configured("base"))
    assert unpatched.applied("linux").tree == builder.imported("linux").tree
