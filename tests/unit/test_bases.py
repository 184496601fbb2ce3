# SPDX-License-Identifier: GPL-2.0-or-later
"""Bases: found, verified, remembered; and the ways in which that must fail."""

from __future__ import annotations

import dataclasses
import hashlib
import http.server
import os
import shutil
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvhbuild import apt, bases, fetch
from dvhbuild.bases import BASES, Base, Debian, Upstream, load_bases, obtain
from dvhbuild.errors import HostError, UserError
from dvhbuild.fetch import WrongHashError

GOOD = textwrap.dedent("""\
    [tiny]
    version = "1.2.*"
    files = ["tiny-{version}.tar.xz", "tiny-source-1.2_{version}-*_all.deb"]
    version_file = "VERSION"
    version_pattern = '^([0-9.]+)$'
    [tiny.upstream]
    version = "1.2.3"
    url = "https://example.org/tiny-1.2.3.tar.xz"
    sha256 = "%s"
    [tiny.debian]
    package = "tiny"
    suite = "trixie"
    source = true
    [tiny.known]
    "tiny-1.2.4.tar.xz" = "%s"
    """) % ("a" * 64, "b" * 64)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def store(tmp_path):
    """The directory that plays upstream's server."""
    directory = tmp_path / "server"
    directory.mkdir()
    return directory


def tiny(store, *, data=b"the release", served=None, **extra):
    """A base whose release hashes like `data`, while `served` is what lies there."""
    (store / "tiny-1.2.3.tar.xz").write_bytes(data if served is None else served)
    upstream = Upstream(version="1.2.3", url=(store / "tiny-1.2.3.tar.xz").as_uri(), sha256=digest(data))
    fields = {
        "name": "tiny",
        "version": "1.2.*",
        "files": ("tiny-{version}.tar.xz", "tiny-source-1.2_{version}-*_all.deb"),
        "version_file": "VERSION",
        "version_pattern": r"^([0-9.]+)$",
        "upstream": upstream,
    }
    return Base(**{**fields, **extra})


def left_in(settings):
    directory = settings.cache / "downloads"
    return sorted(path.name for path in directory.iterdir()) if directory.exists() else []


class TestTable:
    def test_ours_is_complete(self):
        loaded = load_bases()
        assert set(loaded) == {"linux", "qemu", "bochs", "busybox"}
        assert all(base.upstream and base.debian for base in loaded.values())

    def test_ours_pins_files_that_it_recognizes(self):
        for base in load_bases().values():
            assert all(base.version_of(name) for name in base.vouched), base.name
            assert base.version_of(base.upstream.file) == base.upstream.version

    def test_ours_names_no_mirror(self):
        assert "debian.org" not in BASES.read_text()

    def test_good(self, tmp_path):
        (tmp_path / "bases.toml").write_text(GOOD)
        assert load_bases(tmp_path / "bases.toml")["tiny"].upstream.version == "1.2.3"

    @pytest.mark.parametrize(
        ("old", "new", "key"),
        [
            ("version_file =", "versionfile =", "tiny.version_file"),
            ("[tiny.debian]", "[tiny.debain]", "tiny.debain"),
            ("a" * 64, "a" * 63, "tiny.upstream.sha256"),
            ("b" * 64, "z" * 64, "tiny.known.tiny-1.2.4.tar.xz"),
            ("https://", "gopher://", "tiny.upstream.url"),
            ("source = true", 'source = "yes"', "tiny.debian.source"),
            ("[tiny]", "tiny = 1\n[tiny]", "tiny"),
            ("[tiny]", "[tiny", "line 1"),
        ],
    )
    def test_faulty_key_is_named(self, tmp_path, old, new, key):
        file = tmp_path / "bases.toml"
        file.write_text(GOOD.replace(old, new, 1))
        with pytest.raises(UserError) as caught:
            load_bases(file)
        assert str(file) in caught.value.message
        assert key in caught.value.message

    def test_missing_file(self, tmp_path):
        with pytest.raises(UserError, match="No such file"):
            load_bases(tmp_path / "none.toml")


class TestVersionOf:
    @pytest.mark.parametrize(
        ("base", "file", "version"),
        [
            ("linux", "linux-6.12.80.tar.xz", "6.12.80"),
            ("linux", "linux-source-6.12_6.12.117-1~deb12u1_all.deb", "6.12.117"),
            ("qemu", "qemu_10.0.13+ds.orig.tar.xz", "10.0.13"),
            ("bochs", "bochs_3.0+dfsg.orig.tar.xz", "3.0"),
            ("busybox", "busybox_1.37.0.orig.tar.bz2", "1.37.0"),
            ("linux", "linux-6.12.80.tar.xz.part", None),
            ("linux", "linux-source-6.12_6.12.117-1_all.deb/x", None),
            ("qemu", "qemu_10.0.13+ds-0+deb13u1.debian.tar.xz", None),
            ("busybox", "busybox-.tar.bz2", None),
        ],
    )
    def test_example(self, base, file, version):
        assert load_bases()[base].version_of(file) == version

    @given(st.lists(st.integers(0, 9999), min_size=1, max_size=4))
    def test_every_version_is_read_back(self, numbers):
        version = ".".join(map(str, numbers))
        for base in load_bases().values():
            for pattern in base.files:
                assert base.version_of(pattern.replace("{version}", version).replace("*", "1~x")) == version


class TestDownloads:
    def directory(self, tmp_path, settings, **files):
        directory = tmp_path / "downloads"
        directory.mkdir()
        for name, data in files.items():
            (directory / name.replace("__", ".").replace("_", "-")).write_bytes(data)
        return directory, dataclasses.replace(settings, downloads=directory)

    def test_vouched_for(self, tmp_path, store, quiet):
        directory, settings = self.directory(tmp_path, quiet, tiny_1__2__3__tar__xz=b"the release")
        source = obtain(tiny(store), settings)
        assert (source.path, source.version, source.kind) == (directory / "tiny-1.2.3.tar.xz", "1.2.3", "tarball")
        assert source.sha256 == digest(b"the release")
        assert left_in(settings) == []

    def test_known_under_another_name_and_newer(self, tmp_path, store, quiet):
        _, settings = self.directory(tmp_path, quiet, tiny_1__2__9__tar__xz=b"nine", tiny_1__2__10__tar__xz=b"ten")
        known = {"a": digest(b"nine"), "b": digest(b"ten")}
        assert obtain(tiny(store, known=known), settings).version == "1.2.10"

    def test_wrong_hash_names_both(self, tmp_path, store, quiet):
        directory, settings = self.directory(tmp_path, quiet, tiny_1__2__3__tar__xz=b"tampered")
        with pytest.raises(WrongHashError) as caught:
            obtain(tiny(store), settings)
        assert digest(b"tampered") in caught.value.message
        assert digest(b"the release") in caught.value.message
        assert (directory / "tiny-1.2.3.tar.xz").exists(), "the user's own file is not ours to remove"

    def test_not_vouched_for_is_refused_by_name(self, tmp_path, store, quiet, heard):
        _, settings = self.directory(tmp_path, quiet, tiny_1__2__8__tar__xz=b"who knows")
        assert obtain(tiny(store), settings).version == "1.2.3"
        assert any("tiny-1.2.8.tar.xz" in text and digest(b"who knows") in text for text in heard.remarks)

    def test_other_versions_do_not_count(self, tmp_path, store, quiet):
        _, settings = self.directory(tmp_path, quiet, tiny_1__3__0__tar__xz=b"next")
        known = {"tiny-1.3.0.tar.xz": digest(b"next")}
        assert obtain(tiny(store, known=known), settings).version == "1.2.3"


class TestUpstream:
    def test_good(self, store, quiet):
        source = obtain(tiny(store), quiet)
        assert source.path.read_bytes() == b"the release"
        assert left_in(quiet) == ["tiny-1.2.3.tar.xz"]

    def test_wrong_hash_names_both_and_leaves_nothing(self, store, quiet):
        with pytest.raises(WrongHashError) as caught:
            obtain(tiny(store, served=b"tampered"), quiet)
        assert digest(b"tampered") in caught.value.message
        assert digest(b"the release") in caught.value.message
        assert left_in(quiet) == []
        assert not (quiet.cache / "bases" / "tiny.json").exists()

    def test_missing_tells_every_origin(self, store, quiet, heard):
        base = tiny(store)
        (store / "tiny-1.2.3.tar.xz").unlink()
        with pytest.raises(HostError) as caught:
            obtain(base, quiet)
        assert "downloads" in caught.value.message
        assert "No such file" in caught.value.message
        assert "DVHBUILD_TINY" in caught.value.remedy
        assert any("No such file" in text for text in heard.remarks)
        assert left_in(quiet) == []

    @pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
    def test_interrupted_leaves_no_file(self, store, quiet, monkeypatch, error):
        def stop(source, sink, *rest):
            sink.write(source.read(3))
            raise error

        monkeypatch.setattr(fetch, "_copy", stop)
        with pytest.raises(error):
            obtain(tiny(store), quiet)
        assert left_in(quiet) == []

    def test_killed_leaves_no_file_that_counts(self, store, quiet):
        (quiet.cache / "downloads").mkdir()
        (quiet.cache / "downloads" / "tiny-1.2.3.tar.xz").write_bytes(b"the rel")
        assert obtain(tiny(store), quiet).path.read_bytes() == b"the release"

    def test_server_that_stops_half_way(self, store, quiet):
        class Half(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Length", "11")
                self.end_headers()
                self.wfile.write(b"the rel")

            def log_message(self, *args):
                pass

        with http.server.HTTPServer(("127.0.0.1", 0), Half) as server:
            threading.Thread(target=server.handle_request, daemon=True).start()
            url = f"http://127.0.0.1:{server.server_port}/tiny-1.2.3.tar.xz"
            upstream = Upstream(version="1.2.3", url=url, sha256=digest(b"the release"))
            with pytest.raises(HostError, match="7 of 11 bytes"):
                obtain(tiny(store, upstream=upstream), quiet)
        assert left_in(quiet) == []

    def test_full_disk(self, store, quiet, monkeypatch):
        def full(*args):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(fetch, "_copy", full)
        with pytest.raises(HostError, match="No space left") as caught:
            obtain(tiny(store), quiet)
        assert "DVHBUILD_CACHE" in caught.value.remedy
        assert left_in(quiet) == []

    def test_two_at_once_download_once(self, store, quiet, monkeypatch):
        calls = []
        barrier = threading.Barrier(2)
        real = fetch._copy
        monkeypatch.setattr(fetch, "_copy", lambda *args: (calls.append(1), time.sleep(0.3), real(*args)))

        def run(_):
            barrier.wait()
            return obtain(tiny(store), quiet)

        tiny(store)
        with ThreadPoolExecutor(2) as pool:
            first, second = pool.map(run, range(2))
        assert first == second
        assert len(calls) == 1


class TestRemembered:
    def test_warm_run_looks_nowhere(self, store, quiet, monkeypatch):
        base = tiny(store)
        first = obtain(base, quiet)
        for name in ("_from_downloads", "_from_upstream", "_from_debian", "sha256"):
            monkeypatch.setattr(bases, name, None)
        assert obtain(base, quiet) == first

    @pytest.mark.parametrize("how", ["refresh", "file", "base", "record"])
    def test_looks_again(self, store, quiet, how):
        base = tiny(store)
        first = obtain(base, quiet)
        (store / "tiny-1.2.3.tar.xz").unlink()
        if how == "file":
            first.path.write_bytes(b"the release, damaged")
        stamp = (quiet.cache / "bases" / "tiny.json").stat()
        if how == "base":
            base = tiny(store, version="1.*")
        elif how == "record":
            (quiet.cache / "bases" / "tiny.json").write_text("{")
        elif how == "file":
            with pytest.raises(HostError):
                obtain(base, quiet)
            return
        assert obtain(base, quiet, refresh=how == "refresh").sha256 == first.sha256
        assert (quiet.cache / "bases" / "tiny.json").stat().st_mtime_ns > stamp.st_mtime_ns


class TestOwn:
    def own(self, settings, path):
        return dataclasses.replace(settings, own={"tiny": path})

    def tree(self, path, text="1.2.7\n"):
        path.mkdir(parents=True)
        subprocess.run(["git", "init", "-q", path], check=True)
        (path / "VERSION").write_text(text)
        return path

    def test_tree_wins_over_what_is_remembered(self, tmp_path, store, quiet):
        obtain(tiny(store), quiet)
        source = obtain(tiny(store), self.own(quiet, self.tree(tmp_path / "mine")))
        assert (source.kind, source.version, source.sha256) == ("git", "1.2.7", None)

    def test_tree_with_the_release_below(self, tmp_path, store, quiet):
        tree = self.tree(tmp_path / "mine")
        (tree / "sub").mkdir()
        (tree / "VERSION").rename(tree / "sub" / "VERSION")
        assert obtain(tiny(store, subdirectory="sub"), self.own(quiet, tree)).subdirectory == "sub"
        with pytest.raises(UserError, match="no version of tiny"):
            obtain(tiny(store), self.own(quiet, tree))

    def test_directory_without_git(self, tmp_path, store, quiet):
        with pytest.raises(UserError, match="not the top of a git tree"):
            obtain(tiny(store), self.own(quiet, tmp_path))

    def test_another_source(self, tmp_path, store, quiet):
        with pytest.raises(UserError, match="is it tiny's source"):
            obtain(tiny(store), self.own(quiet, self.tree(tmp_path / "mine", "nothing\n")))

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("tiny-1.2.9.tar.xz", ("1.2.9", "tarball")),
            ("tiny-v2.0-rc1.tgz", ("2.0", "tarball")),
            ("tiny_1.2_all.deb", ("1.2", "deb")),
        ],
    )
    def test_tarball(self, tmp_path, store, quiet, name, expected):
        (tmp_path / name).write_bytes(b"mine")
        source = obtain(tiny(store), self.own(quiet, tmp_path / name))
        assert (source.version, source.kind, source.sha256) == (*expected, digest(b"mine"))

    def test_tarball_without_a_version(self, tmp_path, store, quiet):
        (tmp_path / "mine.tar.xz").write_bytes(b"mine")
        with pytest.raises(UserError, match="no version in its name"):
            obtain(tiny(store), self.own(quiet, tmp_path / "mine.tar.xz"))


FAKE_APT = """\
#!{python}
import os, pathlib, sys
here = pathlib.Path({here!r})
with open(here / "calls", "a") as log:
    print(*sys.argv[1:], file=log)
command = sys.argv[1]
if command == "indextargets":
    print((here / ("named" if "--no-release-info" in sys.argv else "known")).read_text(), end="")
elif command == "update":
    sys.exit((here / "broken").exists())
elif command == "source":
    if not (here / "listed").exists():
        sys.exit("E: Unable to find a source package for " + sys.argv[-1])
    print("Need to get 1 kB")
    print((here / "listed").read_text())
elif command == "-q":  # apt-helper download-file URI FILE
    file = here / "pool" / sys.argv[-2].rpartition("/")[2]
    if not file.exists():
        pathlib.Path(sys.argv[-1] + ".FAILED").touch()
        sys.exit("E: Failed to fetch 404  Not Found")
    pathlib.Path(sys.argv[-1]).write_bytes(file.read_bytes())
"""


class TestDebian:
    @pytest.fixture
    def fake(self, tmp_path, monkeypatch):
        """A directory that plays apt: `known` and `named` targets, `listed` files, a `pool`."""
        here = tmp_path / "apt"
        (here / "bin").mkdir(parents=True)
        (here / "pool").mkdir()
        script = here / "bin" / "apt-get"
        script.write_text(FAKE_APT.format(python=sys.executable, here=str(here)))
        script.chmod(0o755)
        keyring = here / "keyring.gpg"
        keyring.touch()
        monkeypatch.setenv("PATH", f"{here / 'bin'}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setattr(apt, "HELPER", script)
        monkeypatch.setattr(apt, "KEYRINGS", (here / "none.pgp", keyring))
        (here / "known").write_text("http://mirror/debian/|bookworm|main|Debian\n")
        (here / "named").write_text("http://mirror/debian/|bookworm|main|$(ORIGIN)\n")
        self.list(here, b"Debian's")
        return here

    def list(self, here, data, sha256=None):
        lines = [("tiny_1.2.6%2bds-1.dsc", "0" * 64), ("tiny-1.2.6.tar.xz", sha256 or digest(data))]
        (here / "listed").write_text(
            "\n".join(f"'http://mirror/pool/{name}' {name} 9 SHA256:{sha}" for name, sha in lines)
        )
        (here / "pool" / "tiny-1.2.6.tar.xz").write_bytes(data)

    def base(self, store):
        return tiny(store, upstream=None, debian=Debian(package="tiny", suite="trixie", source=True))

    def test_good(self, store, quiet, fake):
        source = obtain(self.base(store), quiet)
        assert (source.version, source.path.read_bytes()) == ("1.2.6", b"Debian's")
        assert source.origin == "Debian, tiny-1.2.6.tar.xz"
        listed = (quiet.cache / "apt" / "sources.list").read_text()
        assert f"deb-src [signed-by={fake / 'keyring.gpg'}] http://mirror/debian/ trixie main\n" in listed

    def updates(self, fake):
        return (fake / "calls").read_text().splitlines().count("update -q")

    def test_lists_are_updated_once_for_all(self, store, quiet, fake, monkeypatch):
        for _ in range(2):
            obtain(self.base(store), quiet, refresh=True)
        assert self.updates(fake) == 1
        monkeypatch.setattr(apt, "LISTS_LAST", 0)
        obtain(self.base(store), quiet, refresh=True)
        assert self.updates(fake) == 2

    @pytest.mark.parametrize("why", ["mirror", "lacking"])
    def test_lists_are_updated_again(self, store, quiet, fake, why):
        listed = (fake / "listed").read_text()
        if why == "lacking":
            (fake / "listed").unlink()
            with pytest.raises(HostError):
                obtain(self.base(store), quiet)
            (fake / "listed").write_text(listed)
        else:
            obtain(self.base(store), quiet)
            (fake / "known").write_text("http://other/debian/|bookworm|main|Debian\n")
        obtain(self.base(store), quiet, refresh=True)
        assert self.updates(fake) == 2

    def test_upstream_out_of_reach_falls_to_debian(self, store, quiet, fake, heard):
        base = tiny(store, debian=Debian(package="tiny", suite="trixie", source=True))
        (store / "tiny-1.2.3.tar.xz").unlink()
        assert obtain(base, quiet).version == "1.2.6"
        assert any("tiny-1.2.3.tar.xz" in text for text in heard.remarks)

    def test_wrong_hash_names_both_and_leaves_nothing(self, store, quiet, fake):
        self.list(fake, b"tampered", digest(b"signed"))
        with pytest.raises(WrongHashError) as caught:
            obtain(self.base(store), quiet)
        assert digest(b"tampered") in caught.value.message
        assert digest(b"signed") in caught.value.message
        assert left_in(quiet) == []

    def test_gone_from_the_pool(self, store, quiet, fake):
        (fake / "pool" / "tiny-1.2.6.tar.xz").unlink()
        with pytest.raises(HostError, match="404"):
            obtain(self.base(store), quiet)
        assert left_in(quiet) == []

    def test_not_in_the_suite(self, store, quiet, fake):
        (fake / "listed").unlink()
        with pytest.raises(HostError, match="Unable to find a source package"):
            obtain(self.base(store), quiet)

    def test_only_another_version(self, store, quiet, fake):
        base = self.base(store).model_copy(update={"version": "1.3.*"})
        with pytest.raises(HostError, match="no file like"):
            obtain(base, quiet)

    def test_lists_that_fail_to_verify(self, store, quiet, fake):
        (fake / "broken").touch()
        with pytest.raises(HostError, match="apt-get failed"):
            obtain(self.base(store), quiet)

    @pytest.mark.parametrize(
        ("targets", "found"),
        [
            (("http://a/|noble|main|Ubuntu\nhttp://b/|bookworm|main|Debian\n", ""), "http://b/"),
            (
                ("http://a/|bookworm|main|Vendor\n", "http://a/|bookworm|main|x\nhttp://b/|bookworm|main|x\n"),
                "http://b/",
            ),
            (("", "http://a/|bookworm-vendor|main|x\nhttp://b/|trixie|main|x\n"), "http://b/"),
            (("", "http://s/|bookworm-security|main|x\nhttp://b/|bookworm|main|x\n"), "http://b/"),
            (("http://a/|noble|main|Ubuntu\n", "http://a/|noble|main|x\n"), None),
            (("", ""), None),
        ],
    )
    def test_which_mirror(self, store, quiet, fake, targets, found):
        for name, text in zip(("known", "named"), targets, strict=True):
            (fake / name).write_text(text)
        if found is None:
            with pytest.raises(HostError, match="no mirror of Debian"):
                obtain(self.base(store), quiet)
            return
        obtain(self.base(store), quiet)
        assert f"] {found} trixie main" in (quiet.cache / "apt" / "sources.list").read_text()

    def test_no_keyring(self, store, quiet, fake):
        (fake / "keyring.gpg").unlink()
        with pytest.raises(HostError, match=r"keyring.gpg: missing"):
            obtain(self.base(store), quiet)

    @pytest.mark.skipif(not shutil.which("apt-get"), reason="needs apt")
    def test_configuration_is_one_that_apt_reads(self, quiet, fake):
        environment = apt._configure("trixie", quiet).environment
        argv = ["/usr/bin/apt-config", "dump", "Dir::State"]
        said = subprocess.run(
            argv, env={**os.environ, **environment}, capture_output=True, text=True, check=True
        ).stdout
        assert str(quiet.cache / "apt" / "state") in said
