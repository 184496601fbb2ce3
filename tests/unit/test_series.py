# SPDX-License-Identifier: GPL-2.0-or-later
"""Bases and series in git, on a miniature tree: the same as `git am` makes, or a clear refusal."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tarfile
from contextlib import contextmanager
from pathlib import Path

import pygit2
import pytest
from minitree import FILES, LINES, VERSION, contents, git, refs, source_of, tarball

from dvhbuild import repository
from dvhbuild.bases import Source
from dvhbuild.errors import HostError, UserError
from dvhbuild.patchfiles import SERIES
from dvhbuild.process import running
from dvhbuild.series import apply, import_base, load_series, update_worktree


class TestImport:
    def test_tree_is_what_git_would_make(self, imported, upstream):
        assert imported.tree == git("rev-parse", "HEAD^{tree}", cwd=upstream)
        assert imported.version == VERSION

    def test_same_ids_everywhere(self, source, imported, quiet, tmp_path):
        other = import_base(source, type(quiet)(root=tmp_path, cache=tmp_path / "elsewhere"))
        assert other.commit == imported.commit
        assert other.repo != imported.repo

    def test_done_once(self, source, imported, quiet, heard):
        assert "import tiny 1.2.3 into git" in heard.steps
        heard.steps.clear()
        assert import_base(source, quiet) == imported
        assert heard.steps == []

    def test_links_and_what_git_does_not_hold(self, tmp_path, quiet):
        link, hard, git_file, fifo = (tarfile.TarInfo(f"t/{name}") for name in ("link", "hard", ".git/x", "fifo"))
        link.type, link.linkname = tarfile.SYMTYPE, "VERSION"
        hard.type, hard.linkname = tarfile.LNKTYPE, "t/VERSION"
        fifo.type = tarfile.FIFOTYPE
        path = tarball(tmp_path / "t.tar.xz", top="t", extra=(link, hard, git_file, fifo))
        imported = import_base(source_of(path), quiet)
        listed = git("ls-tree", imported.tree, cwd=imported.repo)
        assert {line.split("\t")[1] for line in listed.splitlines()} == {
            "VERSION",
            "hard",
            "link",
            "src",
            "tools",
            "with space",
        }
        assert "120000" in next(line for line in listed.splitlines() if line.endswith("link"))
        assert git("show", f"{imported.tree}:hard", cwd=imported.repo) == VERSION

    @pytest.mark.parametrize("keep", [0.5, 0])
    def test_damaged(self, quiet, source, keep, monkeypatch):
        @contextmanager
        def patient(*args, **kwargs):
            """Let git come to its own end of the half that it got."""
            with running(*args, **kwargs) as process:
                try:
                    yield process
                finally:
                    process.wait(5)

        monkeypatch.setattr(repository, "running", patient)
        data = source.path.read_bytes()
        source.path.write_bytes(data[: int(len(data) * keep)])
        with pytest.raises(HostError, match="damaged archive"):
            import_base(source, quiet)
        repo = quiet.cache / "git" / "tiny.git"
        assert not pygit2.Repository(str(repo)).references.objects
        assert not [path for path in repo.rglob("*") if path.name.startswith(("tmp_", "fast_import_crash"))]

    def test_interrupted(self, source, quiet, heard):
        repo = quiet.cache / "git" / "tiny.git"

        def interrupt(step, doing):
            (repo / "objects" / "pack" / "tmp_pack_x").touch()  # as a killed git does
            os.kill(os.getpid(), signal.SIGINT)

        heard.advanced = interrupt
        with pytest.raises(KeyboardInterrupt):
            import_base(source, quiet)
        assert not pygit2.Repository(str(repo)).references.objects
        assert not [path for path in repo.rglob("*") if path.name.startswith(("tmp_", "fast_import_crash"))]
        del heard.advanced
        assert import_base(source, quiet).version == VERSION

    def test_git_that_fails(self, source, quiet, tmp_path, monkeypatch):
        fake = tmp_path / "bin" / "git"
        fake.parent.mkdir()
        fake.write_text("#!/bin/sh\necho 'fatal: write error: No space left on device' >&2\nexit 128\n")
        fake.chmod(0o755)
        monkeypatch.setenv("PATH", f"{fake.parent}{os.pathsep}{os.environ['PATH']}")
        with pytest.raises(HostError, match="fast-import: write error: No space left on device"):
            import_base(source, quiet)

    @pytest.mark.parametrize("name", ["elsewhere/file", "tiny-1.2.3/../file"])
    def test_outside_of_the_top(self, tmp_path, quiet, name):
        path = tarball(tmp_path / "bomb.tar.xz", extra=(tarfile.TarInfo(name),))
        with pytest.raises(UserError, match="not below the one top directory"):
            import_base(source_of(path), quiet)

    @pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="needs dpkg-deb")
    @pytest.mark.parametrize("where", ["usr/src", "usr/share"])
    def test_deb(self, tmp_path, quiet, imported, where):
        root = tmp_path / "root"
        (root / "DEBIAN").mkdir(parents=True)
        (root / "DEBIAN" / "control").write_text(
            "Package: x\nVersion: 1\nArchitecture: all\nMaintainer: x\nDescription: x\n"
        )
        (root / where).mkdir(parents=True)
        tarball(root / where / "tiny.tar.xz")
        subprocess.run(["dpkg-deb", "-b", root, tmp_path / "tiny.deb"], check=True, capture_output=True)
        source = source_of(tmp_path / "tiny.deb", "deb")
        if where == "usr/src":
            assert import_base(source, quiet).commit == imported.commit
        else:
            with pytest.raises(HostError, match="no tarball"):
                import_base(source, quiet)


class TestOwnTree:
    def test_committed(self, upstream, imported, quiet):
        own = import_base(source_of(upstream, "git"), quiet)
        assert own.tree == imported.tree
        assert own.commit == imported.commit

    def test_edits_and_new_files_are_included_and_nothing_is_written_there(self, upstream, quiet):
        (upstream / "src/main.c").write_text("edited\n")
        (upstream / "fresh").write_text("new\n")
        (upstream / ".gitignore").write_text("*.o\n")
        (upstream / "main.o").write_text("object\n")
        before = contents(upstream / ".git"), git("count-objects", cwd=upstream)
        own = import_base(source_of(upstream, "git"), quiet)
        assert (contents(upstream / ".git"), git("count-objects", cwd=upstream)) == before
        listed = git("ls-tree", "--name-only", own.tree, cwd=own.repo).split("\n")
        assert "fresh" in listed
        assert "main.o" not in listed
        assert git("show", f"{own.tree}:src/main.c", cwd=own.repo) == "edited"

    def test_release_below(self, upstream, quiet):
        source = source_of(upstream, "git")
        own = import_base(Source(**{**source.__dict__, "subdirectory": "src"}), quiet)
        assert own.tree == git("rev-parse", "HEAD:src", cwd=upstream)


class TestApply:
    def test_agrees_with_git_am(self, imported, patches, quiet, upstream):
        applied = apply(imported, load_series(patches), quiet)
        git("checkout", "-q", "main~3", cwd=upstream)
        git("am", "-q", *sorted(patches.glob("*.patch")), cwd=upstream)
        form = "%T %an %ae %ad %B"
        theirs = git("log", "-3", f"--format={form}", cwd=upstream)
        assert git("log", "-3", f"--format={form}", applied.commit, cwd=applied.repo) == theirs
        assert applied.tree == git("rev-parse", "HEAD^{tree}", cwd=upstream)

    def test_each_patch_is_a_commit(self, imported, patches, quiet):
        series = load_series(patches)
        applied = apply(imported, series, quiet)
        assert tuple(file for file, _ in applied.patches) == series.names
        assert applied.patches[-1][1] == applied.commit
        assert git("rev-parse", f"{applied.patches[0][1]}^", cwd=applied.repo) == imported.commit == applied.base_commit

    def test_same_ids_everywhere_and_done_once(self, source, imported, patches, quiet, tmp_path, heard):
        elsewhere = type(quiet)(root=tmp_path, cache=tmp_path / "elsewhere")
        first = apply(imported, load_series(patches), quiet)
        author, committer = git("log", "-1", "--format=%an %ae %at|%cn %ce %ct", first.commit, cwd=first.repo).split(
            "|"
        )
        assert committer == author
        assert apply(import_base(source, elsewhere), load_series(patches), elsewhere).patches == first.patches
        heard.steps.clear()
        assert apply(imported, load_series(patches), quiet) == first
        assert heard.steps == []

    def test_empty_series(self, imported, quiet, tmp_path):
        (tmp_path / SERIES).write_text("# Applies to 1.2.*\n")
        applied = apply(imported, load_series(tmp_path), quiet)
        assert (applied.commit, applied.tree, applied.patches) == (imported.commit, imported.tree, ())

    def test_lines_may_have_moved(self, patches, quiet, tmp_path):
        moved = {**FILES, "src/main.c": f"one\nmore\nthing\n{LINES}"}
        imported = import_base(source_of(tarball(tmp_path / "moved.tar.xz", moved)), quiet)
        applied = apply(imported, load_series(patches), quiet)
        assert "one\nmore" in git("show", f"{applied.tree}:src/main.c", cwd=applied.repo)
        assert "thirty" in git("show", f"{applied.tree}:src/main.c", cwd=applied.repo)

    @pytest.mark.parametrize(
        ("files", "said"),
        [
            (
                {"src/main.c": LINES.replace("line 31\n", "LINE 31\n")},
                "0003-edit-two.patch: src/main.c: hunk @@ -27,7 +27,7 @@",
            ),
            (
                {"new/file.c": "there\n"},
                "0002-add-a-file-whose-subject-is-so-long-that-the-header-.patch: new/file.c: already exists",
            ),
            ({"src/other.c": None}, "0003-edit-two.patch: src/other.c: does not exist"),
        ],
    )
    def test_refusal_names_patch_file_and_hunk(self, patches, quiet, tmp_path, files, said):
        changed = {entry: text for entry, text in {**FILES, **files}.items() if text is not None}
        imported = import_base(source_of(tarball(tmp_path / "other.tar.xz", changed)), quiet)
        before = refs(imported)
        with pytest.raises(UserError) as caught:
            apply(imported, load_series(patches), quiet)
        assert said in caught.value.message
        assert "tiny 1.2.3" in caught.value.message
        assert refs(imported) == before
        assert not list(imported.repo.glob("tmp*"))

    def test_refusal_then_success(self, imported, patches, quiet):
        broken = patches / "0003-edit-two.patch"
        good = broken.read_bytes()
        broken.write_bytes(good.replace(b" line 31\n", b" line 13\n"))
        with pytest.raises(UserError, match="does not apply"):
            apply(imported, load_series(patches), quiet)
        broken.write_bytes(good)
        assert len(apply(imported, load_series(patches), quiet).patches) == 3

    def test_wrong_version_names_both(self, imported, patches, quiet):
        text = (patches / SERIES).read_text()
        (patches / SERIES).write_text(text.replace("1.2.*", "1.3.*"))
        with pytest.raises(UserError) as caught:
            apply(imported, load_series(patches), quiet)
        assert "1.3.*" in caught.value.message
        assert "1.2.3" in caught.value.message

    def test_user_configuration_does_not_matter(self, imported, patches, quiet):
        Path(os.environ["HOME"], ".gitconfig").write_text(
            "[apply]\n whitespace = error-all\n[core]\n autocrlf = true\n"
        )
        (patches / "0001-dit-line-five.patch").write_bytes(
            (patches / "0001-dit-line-five.patch").read_bytes().replace(b"+five\n", b"+five  \n")
        )
        assert len(apply(imported, load_series(patches), quiet).patches) == 3


class TestUpdateWorktree:
    def test_only_what_differs_is_touched(self, imported, patches, quiet, tmp_path):
        tree = tmp_path / "work" / "tree"
        bare = apply(imported, load_series(self.none(tmp_path)), quiet)
        update_worktree(bare, tree)
        assert {entry: (tree / entry).read_text() for entry in FILES} == FILES
        assert os.access(tree / "tools/run", os.X_OK)
        for entry in FILES:
            os.utime(tree / entry, (1, 1))
        update_worktree(apply(imported, load_series(patches), quiet), tree)
        assert [entry for entry in FILES if not (tree / entry).exists()] == ["src/other.c"]
        kept = {entry for entry in FILES if (tree / entry).exists() and (tree / entry).stat().st_mtime == 1}
        assert kept == set(FILES) - {"src/main.c", "src/other.c"}
        assert (tree / "new/file.c").exists()

    def none(self, tmp_path):
        (tmp_path / "none").mkdir()
        (tmp_path / "none" / SERIES).write_text("# Applies to *\n")
        return tmp_path / "none"

    def test_attributes_of_the_user_do_not_matter(self, imported, patches, quiet, tmp_path):
        attributes = Path.home() / ".config/git/attributes"
        attributes.parent.mkdir(parents=True)
        attributes.write_text("* text eol=crlf\n")
        update_worktree(apply(imported, load_series(patches), quiet), tmp_path / "tree")
        assert b"\r" not in (tmp_path / "tree/src/main.c").read_bytes()

    def test_what_is_in_the_way_goes_the_rest_stays(self, imported, patches, quiet, tmp_path):
        tree = tmp_path / "tree"
        applied = apply(imported, load_series(patches), quiet)
        update_worktree(applied, tree)
        shutil.rmtree(tree / "new")
        (tree / "new").write_text("a file where a directory belongs")
        (tree / "src/main.c").unlink()
        (tree / "src/main.c").mkdir()
        (tree / "src/main.c" / "junk").touch()
        (tree / "VERSION").write_text("edited")
        (tree / "mine.o").touch()
        update_worktree(applied, tree)
        assert (tree / "new/file.c").read_text() == "x\n"
        assert "thirty" in (tree / "src/main.c").read_text()
        assert (tree / "VERSION").read_text() == FILES["VERSION"]
        assert (tree / "mine.o").exists()

    def test_after_an_interruption(self, imported, patches, quiet, tmp_path):
        tree = tmp_path / "tree"
        applied = apply(imported, load_series(patches), quiet)
        update_worktree(applied, tree)
        (tmp_path / ".tree.index.lock").touch()
        shutil.rmtree(tree / "src")
        update_worktree(applied, tree)
        assert "thirty" in (tree / "src/main.c").read_text()
        (tmp_path / ".tree.index").write_bytes(b"damaged")
        update_worktree(applied, tree)
