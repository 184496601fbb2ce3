# SPDX-License-Identifier: GPL-2.0-or-later
"""Where things are: from the environment, and a path that does not exist is named."""

import pytest

from dvhbuild.errors import UserError
from dvhbuild.settings import Settings
from dvhbuild.steps import Silent


def test_the_environment_decides(tmp_path):
    tree = tmp_path / "linux"
    tree.mkdir()
    environ = {"DVHBUILD_CACHE": str(tmp_path / "c"), "DVHBUILD_LINUX": str(tree), "DVHBUILD_DOWNLOADS": str(tmp_path)}
    settings = Settings.from_environment(Silent(), environ)
    assert (settings.cache, settings.own, settings.downloads) == (tmp_path / "c", {"linux": tree}, tmp_path)


def test_nothing_set_is_the_users_cache():
    settings = Settings.from_environment(Silent(), {})
    assert settings.cache.name == "dvhbuild"
    assert not settings.own
    assert settings.downloads is None


def test_a_cache_is_where_it_really_is(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "home").symlink_to("disk")
    settings = Settings.from_environment(Silent(), {"DVHBUILD_CACHE": f"{tmp_path}/home/c"})
    assert settings.cache == tmp_path / "disk/c"


@pytest.mark.parametrize("name", ["DVHBUILD_LINUX", "DVHBUILD_DOWNLOADS"])
def test_a_path_that_does_not_exist_is_named(tmp_path, name):
    with pytest.raises(UserError, match=f"{name}={tmp_path}/none: no such file"):
        Settings.from_environment(Silent(), {name: f"{tmp_path}/none"})


@pytest.mark.parametrize("name", ["DVHBUILD_CACHE", "DVHBUILD_QEMU", "DVHBUILD_DOWNLOADS"])
def test_the_home_of_a_user_whom_nobody_knows_is_named(name):
    with pytest.raises(UserError, match=f"{name}=~nosuchuser/x: there is no such home directory"):
        Settings.from_environment(Silent(), {name: "~nosuchuser/x"})
