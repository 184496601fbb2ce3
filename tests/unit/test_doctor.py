# SPDX-License-Identifier: GPL-2.0-or-later
"""The doctor finds what is missing, names the remedy, and installs only if asked."""

import pytest

from dvhbuild import doctor
from dvhbuild.doctor import Need
from dvhbuild.errors import HostError
from dvhbuild.settings import Settings


@pytest.fixture
def settings(tmp_path):
    return Settings(root=tmp_path, cache=tmp_path / "cache")


def test_a_missing_tool_is_found_and_a_present_one_is_well(settings):
    needs = (Need("bash", "sh"), Need("x-package", "no-such-tool"), Need("y-package", "/no/such/file"))
    findings = doctor.examine(settings, needs)
    assert [finding.well for finding in findings[:3]] == [True, False, False]
    assert findings[1].remedy == "apt-get install x-package"


def test_nothing_is_installed_when_nothing_is_missing(settings):
    doctor.install(settings, (Need("bash", "sh"),), find=lambda _: pytest.fail("asked for apt"))


def test_without_apt_the_packages_are_named(settings):
    with pytest.raises(HostError, match="missing: x-package") as caught:
        doctor.install(settings, (Need("x-package", "no-such-tool"),), find=lambda _: None)
    assert "as root" in caught.value.remedy


def test_too_small_a_disk_is_found(settings, monkeypatch):
    monkeypatch.setattr(doctor, "FREE", 1 << 60)
    *_, disk = doctor.examine(settings, ())
    assert not disk.well
    assert "DVHBUILD_CACHE" in disk.remedy
