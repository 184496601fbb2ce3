# SPDX-License-Identifier: GPL-2.0-or-later
"""Packages are downloaded once, with what they depend on: Debian's or, without a mirror of it, the machine's."""

import hashlib
import os
import sys

import pytest

from dvhbuild import apt, packages
from dvhbuild.fetch import UnreachableError

FAKE_APT = """\
#!{python}
import os, pathlib, sys
here = pathlib.Path({here!r})
with (here / "calls").open("a") as calls:
    print(*sys.argv[1:], file=calls)
command, *words = sys.argv[1:]
if command == "indextargets":
    print((here / "targets").read_text(), end="")
elif command == "install":
    if words[-1] == "nothing":
        sys.exit("E: Unable to locate package nothing")
    print("Reading package lists...")
    for name in ("zlib_1%3a1_amd64.deb", words[-1] + "_2.0-1%7e1_amd64.deb"):
        print(f"'http://mirror/pool/{{name}}' {{name}} 9 MD5Sum:0")
elif command == "download":
    (here / "config").write_text(pathlib.Path(os.environ["APT_CONFIG"]).read_text())
    for name in words[1:]:
        if name == "zlib" and (here / "gone").exists():
            sys.exit("E: Failed to fetch 404  Not Found")
        version = "1%3a1" if name == "zlib" else "2.0-1~1"
        pathlib.Path(f"{{name}}_{{version}}_amd64.deb").write_text(name)
"""


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """A directory that plays apt."""
    here = tmp_path / "apt"
    (here / "bin").mkdir(parents=True)
    script = here / "bin/apt-get"
    script.write_text(FAKE_APT.format(python=sys.executable, here=str(here)))
    script.chmod(0o755)
    (here / "keyring.gpg").touch()
    (here / "targets").write_text("http://mirror/debian/|bookworm|main|Debian\n")
    monkeypatch.setenv("PATH", f"{here / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(apt, "KEYRINGS", (here / "keyring.gpg",))
    return here


def asked(fake):
    return (fake / "calls").read_text().splitlines()


def test_packages_come_with_what_they_depend_on(quiet, fake):
    obtained = packages.obtain(["tool"], quiet)
    assert [(path.name, path.read_text()) for path in obtained.paths] == [
        ("tool_2.0-1~1_amd64.deb", "tool"),
        ("zlib_1%3a1_amd64.deb", "zlib"),
    ]
    assert obtained.files["zlib_1%3a1_amd64.deb"] == hashlib.sha256(b"zlib").hexdigest()
    assert obtained.versions == {"tool": "2.0-1~1", "zlib": "1:1"}
    assert asked(fake)[-1] == "download -q zlib tool"


def test_what_was_downloaded_is_not_downloaded_again(quiet, fake):
    first = packages.obtain(["tool"], quiet)
    before = asked(fake)
    assert packages.obtain(["tool"], quiet) == first
    assert asked(fake) == before


@pytest.mark.parametrize("how", ["damaged", "missing", "others"])
def test_what_is_not_whole_is_downloaded_again(quiet, fake, how):
    path = packages.obtain(["tool"], quiet).directory / "zlib_1%3a1_amd64.deb"
    path.write_text("damaged") if how == "damaged" else path.unlink() if how == "missing" else None
    wanted = "other" if how == "others" else "tool"
    assert sorted(packages.obtain([wanted], quiet).versions) == sorted([wanted, "zlib"])
    assert path.read_text() == "zlib"
    assert sum(call.startswith("download") for call in asked(fake)) == 2


@pytest.mark.parametrize(("origin", "where"), [("Debian", "apt"), ("Ubuntu", "apt-own")])
def test_they_are_debians_or_this_machines(quiet, fake, origin, where):
    (fake / "targets").write_text(f"http://mirror/x/|noble|main|{origin}\n")
    packages.obtain(["tool"], quiet)
    config = (fake / "config").read_text()
    assert f'Dir::State "{quiet.cache / where / "state"}"' in config
    assert ("SourceList" in config) == (origin == "Debian")


def test_a_package_that_there_is_not(quiet, fake):
    with pytest.raises(UnreachableError, match="Debian trixie: nothing: .*Unable to locate package nothing") as caught:
        packages.obtain(["nothing"], quiet)
    assert "multiverse" in caught.value.remedy


def test_a_download_that_fails_leaves_nothing_that_counts(quiet, fake):
    (fake / "gone").touch()
    with pytest.raises(UnreachableError, match="404"):
        packages.obtain(["tool"], quiet)
    (fake / "gone").unlink()
    assert len(packages.obtain(["tool"], quiet).paths) == 2
