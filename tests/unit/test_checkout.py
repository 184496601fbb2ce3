# SPDX-License-Identifier: GPL-2.0-or-later
"""A checkout keeps the work in it; an export writes what changed, and only that."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from minitree import LINES, commit, contents, git, source_of, write_series

from dvhbuild.errors import UserError
from dvhbuild.patchfiles import SERIES
from dvhbuild.series import apply, checkout, export, import_base, load_series, status


class TestCheckout:
    def test_is_a_branch_on_the_series(self, edited, imported):
        assert git("branch", "--show-current", cwd=edited) == "dvh"
        assert git("rev-list", "--count", "HEAD", cwd=edited) == "4"
        assert git("rev-parse", "refs/dvh/base", cwd=edited) == imported.commit
        assert git("status", "--porcelain", cwd=edited) == ""

    def test_again(self, edited, imported, patches, quiet):
        checkout(apply(imported, load_series(patches), quiet), edited, quiet)
        assert git("rev-list", "--count", "HEAD", cwd=edited) == "4"

    def test_uncommitted_changes_stay(self, edited, imported, patches, quiet):
        (edited / "VERSION").write_text("mine\n")
        with pytest.raises(UserError, match="uncommitted changes in VERSION"):
            checkout(apply(imported, load_series(patches), quiet), edited, quiet)
        assert (edited / "VERSION").read_text() == "mine\n"

    def test_unexported_commits_stay(self, edited, imported, patches, quiet):
        commit(edited, "mine", src_main_c=("line 1\n", "one\n"))
        with pytest.raises(UserError, match="not exported"):
            checkout(apply(imported, load_series(patches), quiet), edited, quiet)
        export(edited, patches, quiet)
        checkout(apply(imported, load_series(patches), quiet), edited, quiet)
        assert git("log", "-1", "--format=%s", cwd=edited) == "mine"

    def test_other_directory_stays(self, imported, patches, quiet, tmp_path):
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "file").touch()
        with pytest.raises(UserError, match="not a checkout"):
            checkout(apply(imported, load_series(patches), quiet), tmp_path / "other", quiet)

    def test_work_survives_the_cache(self, edited, source, patches, quiet):
        commit(edited, "mine", src_main_c=("line 1\n", "one\n"))
        shutil.rmtree(quiet.cache / "git")
        apply(import_base(source, quiet), load_series(patches), quiet)
        assert export(edited, patches, quiet)

    def test_named_as_the_tree_is_built_as_it_is(self, edited, imported, patches, quiet, heard):
        (edited / "VERSION").write_text("mine\n")
        own = import_base(source_of(edited, "git"), quiet)
        applied = apply(own, load_series(patches), quiet)
        assert git("show", f"{applied.tree}:VERSION", cwd=applied.repo) == "mine"
        assert git("show", f"{applied.tree}:new/file.c", cwd=applied.repo) == "x"
        assert any("as it is" in text for text in heard.remarks)


class TestExport:
    def test_nothing_changed_nothing_written(self, edited, patches, quiet):
        before = contents(patches)
        assert export(edited, patches, quiet) == ()
        assert contents(patches) == before

    def test_round_trip_in_our_format(self, edited, patches, quiet, tmp_path):
        export(edited, tmp_path / "new", quiet)
        for file in patches.glob("*.patch"):
            assert (tmp_path / "new" / file.name).read_bytes() == file.read_bytes()
        assert load_series(tmp_path / "new").applies_to == "1.2.*"

    def test_another_format_stays_too(self, imported, upstream, patches, quiet, tmp_path):
        other = write_series(upstream, tmp_path / "other", options=("--abbrev=7", "-U5", "--signature=x"))
        before = contents(other)
        assert before["0001-dit-line-five.patch"] != (patches / "0001-dit-line-five.patch").read_bytes()
        checkout(apply(imported, load_series(other), quiet), tmp_path / "edit", quiet)
        commit(tmp_path / "edit", "mine", src_main_c=("line 1\n", "one\n"))
        assert [path.name for path in export(tmp_path / "edit", other, quiet)] == ["0004-mine.patch", SERIES]
        assert {name: data for name, data in contents(other).items() if name in before and name != SERIES} == {
            name: data for name, data in before.items() if name != SERIES
        }

    def amend(self, edited, number, edit):
        """Amend commit `number` of three by running `edit` in the tree."""
        picked = git("rev-list", "--reverse", "refs/dvh/base..HEAD", cwd=edited).split()
        git("reset", "-q", "--hard", picked[number], cwd=edited)
        edit()
        git("commit", "-qa", "--amend", "--no-edit", cwd=edited)
        for later in picked[number + 1 :]:
            git("cherry-pick", later, cwd=edited)

    def test_only_the_edited_patch_changes(self, edited, patches, quiet):
        before = contents(patches)
        self.amend(edited, 1, lambda: (edited / "new/file.c").write_text("y\n"))
        second = "0002-add-a-file-whose-subject-is-so-long-that-the-header-.patch"
        assert status(edited, quiet).edited == (second,)
        assert export(edited, patches, quiet) == (patches / second,)
        after = contents(patches)
        assert {name for name in after if after[name] != before[name]} == {second}
        assert b"+y\n" in after[second]
        assert export(edited, patches, quiet) == ()
        assert status(edited, quiet).edited == ()

    def test_removed(self, edited, patches, quiet):
        before = contents(patches)
        picked = git("rev-list", "--reverse", "refs/dvh/base..HEAD", cwd=edited).split()
        git("reset", "-q", "--hard", picked[0], cwd=edited)
        git("cherry-pick", picked[2], cwd=edited)
        changed = [path.name for path in export(edited, patches, quiet)]
        assert load_series(patches).names == ("0001-dit-line-five.patch", "0002-edit-two.patch")
        assert contents(patches)["0002-edit-two.patch"] == before["0003-edit-two.patch"]
        assert len(contents(patches)) == 3
        assert len(changed) == 4
        assert "# why the second\n0002-edit-two.patch\n# the end\n" in (patches / SERIES).read_text()

    def test_inserted(self, edited, patches, quiet):
        before = contents(patches)
        picked = git("rev-list", "--reverse", "refs/dvh/base..HEAD", cwd=edited).split()
        git("reset", "-q", "--hard", picked[0], cwd=edited)
        commit(edited, "between", src_main_c=("line 15\n", "fifteen\n"))
        git("cherry-pick", *picked[1:], cwd=edited)
        said = status(edited, quiet)
        assert said.added == ("0002-between.patch",)
        assert len(said.unchanged) == 3
        export(edited, patches, quiet)
        assert load_series(patches).names[1] == "0002-between.patch"
        assert contents(patches)["0004-edit-two.patch"] == before["0003-edit-two.patch"]
        lines = (patches / SERIES).read_text().splitlines()
        assert lines[0] == "# Applies to 1.2.*; in order."
        assert lines[lines.index("# why the second") + 1].startswith("0003-add-a-file")

    def test_names_of_your_own_stay(self, imported, patches, quiet, tmp_path):
        (patches / "0001-dit-line-five.patch").rename(patches / "five.patch")
        text = (patches / SERIES).read_text()
        (patches / SERIES).write_text(text.replace("0001-dit-line-five.patch", "five.patch"))
        checkout(apply(imported, load_series(patches), quiet), tmp_path / "edit", quiet)
        self.amend(
            tmp_path / "edit", 0, lambda: (tmp_path / "edit/src/main.c").write_text(LINES.replace("line 5\n", "FIVE\n"))
        )
        assert [path.name for path in export(tmp_path / "edit", patches, quiet)] == ["five.patch"]

    def test_context_that_changed_is_written(self, edited, patches, quiet):
        self.amend(edited, 0, lambda: (edited / "src/main.c").write_text(f"new\n{LINES}".replace("line 5\n", "five\n")))
        changed = [path.name for path in export(edited, patches, quiet)]
        assert changed == ["0001-dit-line-five.patch", "0003-edit-two.patch"], "the third one's hunks have moved"

    def refused(self, edited, patches, quiet, said):
        before = contents(patches)
        with pytest.raises(UserError, match=said):
            export(edited, patches, quiet)
        assert contents(patches) == before

    def test_refuses_uncommitted(self, edited, patches, quiet):
        (edited / "VERSION").write_text("mine\n")
        assert status(edited, quiet).uncommitted == ("VERSION",)
        self.refused(edited, patches, quiet, "uncommitted changes in VERSION")

    def test_refuses_a_rebase_half_way(self, edited, patches, quiet):
        (edited / ".git" / "rebase-merge").mkdir()
        self.refused(edited, patches, quiet, "rebase is under way")

    def test_refuses_merges(self, edited, patches, quiet):
        git("checkout", "-qb", "side", "HEAD~1", cwd=edited)
        commit(edited, "side", with_other="x\n")
        git("checkout", "-q", "dvh", cwd=edited)
        git("merge", "-q", "--no-edit", "side", cwd=edited)
        self.refused(edited, patches, quiet, "not in one line with the base")

    def test_refuses_another_history(self, edited, patches, quiet):
        git("checkout", "-q", "--orphan", "alone", cwd=edited)
        git("commit", "-qm", "alone", cwd=edited)
        self.refused(edited, patches, quiet, "not in one line with the base")

    def test_refuses_a_series_that_changed(self, edited, patches, quiet):
        path = patches / "0001-dit-line-five.patch"
        path.write_bytes(path.read_bytes().replace(b"five", b"FIVE"))
        commit(edited, "mine", src_main_c=("line 1\n", "one\n"))
        self.refused(edited, patches, quiet, "changed since")

    def test_refuses_what_mails_do_not_carry(self, edited, patches, quiet):
        (edited / "VERSION").write_bytes(b"dos\r\n")
        git("commit", "-qam", "carriage returns", cwd=edited)
        self.refused(edited, patches, quiet, "make another tree")

    def test_user_configuration_does_not_matter(self, edited, patches, quiet, tmp_path):
        Path(os.environ["HOME"], ".gitconfig").write_text(
            "[diff]\n noprefix = true\n context = 1\n[format]\n signature = me\n numbered = true\n"
        )
        export(edited, tmp_path / "new", quiet)
        for file in patches.glob("*.patch"):
            assert (tmp_path / "new" / file.name).read_bytes() == file.read_bytes()

    def test_not_a_checkout(self, upstream, patches, quiet):
        with pytest.raises(UserError, match="not a checkout of ours"):
            status(upstream, quiet)
