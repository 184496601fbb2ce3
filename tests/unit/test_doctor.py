# SPDX-License-Identifier: GPL-2.0-or-later
"""The doctor finds what is missing, names the remedy, and installs only if asked."""

import os
import sys

import pexpect
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


def test_a_file_may_be_where_another_release_has_it(tmp_path):
    (tmp_path / "new").touch()
    assert Need("x", str(tmp_path / "old"), elsewhere=str(tmp_path / "new")).met()
    assert not Need("x", str(tmp_path / "old"), elsewhere=str(tmp_path / "none")).met()


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


SUDO = """\
#!/bin/sh
echo "$*" >> "$0.log"
case "$1" in
-v) printf 'password: ' > /dev/tty; read -r word < /dev/tty; test "$word" = secret ;;
-n) case "$*" in *" install "*) : > "$(dirname "$0")/installed" ;; esac ;;
esac
"""
"""Asks for a password on its terminal, as sudo does: whoever is not in the foreground gets nothing from there."""


def test_a_user_with_sudo_is_asked_for_a_password_and_apt_runs_as_root(tmp_path):
    for name in ("sudo", "apt-get"):
        (tmp_path / name).write_text(SUDO)
        (tmp_path / name).chmod(0o755)
    script = (
        "import os, sys; from pathlib import Path; from dvhbuild import doctor, settings\n"
        "os.geteuid = lambda: 1000\n"
        "here = Path(sys.argv[1])\n"
        "needs = (doctor.Need('bash', 'sh'), doctor.Need('x-package', str(here / 'installed')))\n"
        "doctor.install(settings.Settings(root=here, cache=here / 'cache'), needs)\n"
    )
    environ = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    with pexpect.spawn(sys.executable, ["-c", script, str(tmp_path)], env=environ, timeout=20) as user:
        user.expect_exact("password: ")
        user.sendline("secret")
        user.expect(pexpect.EOF)
    assert user.exitstatus == 0, user.before
    apt = "-n env DEBIAN_FRONTEND=noninteractive apt-get -q"
    assert (tmp_path / "sudo.log").read_text().splitlines() == [
        "-v",
        f"{apt} update",
        f"{apt} install -y --no-install-recommends x-package",
    ]
    assert not (tmp_path / "apt-get.log").exists()


def test_what_only_patch_checkers_need_is_asked_of_them_alone():
    doctor.demand((Need("bash", "sh"),))
    with pytest.raises(HostError, match="no-such-tool: not found") as caught:
        doctor.demand((Need("bash", "sh"), Need("x-package", "no-such-tool")))
    assert "doctor --install --patches, or: apt-get install x-package" in caught.value.remedy
    assert not set(doctor.CHECKERS) & set(doctor.NEEDS)
