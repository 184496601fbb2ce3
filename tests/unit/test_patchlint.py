# SPDX-License-Identifier: GPL-2.0-or-later
"""What `git am` and a tree's own checkpatch say of a series, on a miniature tree with a miniature checkpatch."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from minitree import FILES, commit, git, source_of, tarball, write_series

from dvhbuild import build, patchlint
from dvhbuild.bases import Base, Upstream
from dvhbuild.build import Builder
from dvhbuild.cli_series import series as command
from dvhbuild.errors import HostError, UserError, VerdictError
from dvhbuild.series import apply, check, checkout, import_base, load_series
from dvhbuild.settings import Settings

MINIATURE = r"""
use strict;
my ($clean, $after_options) = (1, 0);
-f "src/main.c" && -d "with space" && -d "tools" && !-e "tools/run" or die "not the tree that was asked for\n";
-e ($ENV{GIT_DIR} // ".git") and die "a history to look things up in\n";
for my $file (grep { !/^--/ } @ARGV) {
    open my $patch, "<", $file or die "$file: $!\n";
    while (<$patch>) {
        exit 1 if /^\+SILENT/;
        die "out of words\n" if /^\+DIE/;
        /^\+.*?(\w+): (.*)/ or next;
        print "$file:$.: $1: $2\n";
        $clean = 0;
    }
}
exit !$clean;
"""


@pytest.fixture
def base(tmp_path, quiet):
    """The miniature tree with a checkpatch, imported."""
    files = {**FILES, "scripts/checkpatch.pl": MINIATURE}
    return import_base(source_of(tarball(tmp_path / "checked.tar.xz", files)), quiet)


def second_adds(upstream, directory, text):
    """Two patches, the second of which adds `text` to a file, at line 18 of the mail."""
    commit(upstream, "edit", src_main_c=("line 5\n", "five\n"))
    commit(upstream, "add", src_main_c=("line 30\n", f"line 30\n{text}\n"))
    return write_series(upstream, directory, base="main~2")


def name_and_line(finding):
    return finding.path.name, finding.line, finding.text


def test_clean(base, patches, quiet):
    report = check(base, load_series(patches), quiet)
    assert (report.base, report.patches, report.checks) == ("tiny 1.2.3", 3, ("git am", "checkpatch"))
    assert report.findings == ()


def test_the_tree_is_gone_and_what_was_imported_stays(base, patches, quiet):
    before = sorted(path.name for path in quiet.cache.iterdir()), git("for-each-ref", "refs/imports", cwd=base.repo)
    check(base, load_series(patches), quiet)
    after = sorted(path.name for path in quiet.cache.iterdir()), git("for-each-ref", "refs/imports", cwd=base.repo)
    assert (sorted({*before[0], "logs"}), before[1]) == after


def test_a_tree_without_checkpatch(imported, patches, quiet):
    assert check(imported, load_series(patches), quiet).checks == ("git am",)


def test_an_empty_series(base, quiet, tmp_path):
    (tmp_path / "series").write_text("# Applies to 1.2.*\n")
    report = check(base, load_series(tmp_path), quiet)
    assert (report.patches, report.checks, report.findings) == (0, (), ())


@pytest.mark.parametrize("kind", ["ERROR", "WARNING", "CHECK"])
def test_each_finding_is_reported_with_patch_and_line(base, upstream, quiet, tmp_path, kind):
    patches = second_adds(upstream, tmp_path / "p", f"{kind}: two\n{kind}: three")
    report = check(base, load_series(patches), quiet)
    lines = (patches / "0002-add.patch").read_text().splitlines()
    number = lines.index(f"+{kind}: two") + 1
    assert [name_and_line(finding) for finding in report.findings] == [
        ("0002-add.patch", number, f"{kind}: two"),
        ("0002-add.patch", number + 1, f"{kind}: three"),
    ]
    assert str(report.findings[0]) == f"{patches}/0002-add.patch:{number}: {kind}: two"


@pytest.mark.parametrize(
    "question",
    ["does MAINTAINERS need updating?", "imported from Linux, are you using scripts/update-linux-headers.sh?"],
)
def test_a_question_is_no_finding(base, upstream, quiet, tmp_path, question):
    patches = second_adds(upstream, tmp_path / "p", f"WARNING: added, moved or deleted file(s) {question}")
    assert check(base, load_series(patches), quiet).findings == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [("SILENT", r"failed \(1\): no message"), ("WARNING: does MAINTAINERS need updating?\nDIE", "out of words")],
)
def test_a_checkpatch_that_fails_is_not_taken_for_clean(base, upstream, quiet, tmp_path, text, said):
    patches = second_adds(upstream, tmp_path / "p", text)
    with pytest.raises(HostError, match=said):
        check(base, load_series(patches), quiet)


def test_a_mail_that_git_am_refuses_is_named(base, patches, quiet):
    path = patches / "0003-edit-two.patch"
    text = path.read_bytes().replace(
        b"Subject: ", b"Content-Type: text/plain; charset=x-unknown\nSubject: =?x-unknown?q?=E4?= ", 1
    )
    path.write_bytes(text)
    with pytest.raises(UserError, match=r"0003-edit-two.patch: git am: .*x-unknown"):
        check(base, load_series(patches), quiet)


def test_a_commit_that_differs_is_named(base, patches, quiet, monkeypatch):
    whole = apply(base, load_series(patches), quiet)
    path = patches / "0002-add-a-file-whose-subject-is-so-long-that-the-header-.patch"
    path.write_bytes(path.read_bytes().replace(b"+x\n", b"+y\n"))
    monkeypatch.setattr(patchlint, "apply", lambda *_: whole)
    with pytest.raises(UserError, match=r"0002-add-.*\.patch: git am makes another commit"):
        check(base, load_series(patches), quiet)


def test_the_users_configuration_does_not_matter(base, patches, quiet):
    Path(os.environ["HOME"], ".gitconfig").write_text(
        "[apply]\n whitespace = error-all\n[am]\n keepcr = true\n[commit]\n gpgsign = true\n[core]\n hooksPath = /bin\n"
    )
    path = patches / "0001-dit-line-five.patch"
    path.write_bytes(path.read_bytes().replace(b"+five\n", b"+five  \n"))
    assert check(base, load_series(patches), quiet).findings == ()


class TestCommand:
    @pytest.fixture
    def settings(self, upstream, tmp_path, quiet):
        """A user's tree of "Bochs" with a checkpatch, and the series "on Bochs"."""
        tree = tmp_path / "bochs"
        tree.mkdir()
        for name, text in {**FILES, "scripts/checkpatch.pl": MINIATURE, "configure.ac": 'VERSION="3.0"\n'}.items():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_text(text)
        git("init", "-q", cwd=tree)
        git("add", "-A", cwd=tree)
        (tmp_path / "patches" / "bochs").mkdir(parents=True)
        return Settings(root=tmp_path, cache=quiet.cache, own={"bochs": tree}, reporter=quiet.reporter)

    def series(self, settings, upstream, text):
        directory = second_adds(upstream, settings.root / "patches/bochs/3.0", text)
        (directory / "series").write_text((directory / "series").read_text().replace("1.2.*", "3.0"))

    def test_clean(self, settings, upstream):
        self.series(settings, upstream, "fine")
        done = CliRunner().invoke(command, ["check", "bochs"], obj=settings)
        assert (done.exit_code, done.output) == (0, "bochs 3.0: 2 patches: git am, checkpatch: 0 findings\n")

    def test_findings_fail_it(self, settings, upstream):
        self.series(settings, upstream, "ERROR: two\nCHECK: three")
        done = CliRunner().invoke(command, ["check", "bochs"], obj=settings)
        assert isinstance(done.exception, VerdictError)
        assert "2 findings in the patches, the first: " in done.exception.message
        assert "checkpatch.pl --strict PATCH" in done.exception.remedy
        assert [line.partition(".patch:")[2] for line in done.output.splitlines()[1:]] == [
            "18: ERROR: two",
            "19: CHECK: three",
        ]

    def test_a_checkout_of_the_series_is_not_patched_again(self, source, patches, quiet, tmp_path, monkeypatch):
        upstream = Upstream(version="1.2.3", url=source.path.as_uri(), sha256=source.sha256)
        fields = {"files": ("tiny-{version}.tar.xz",), "version_file": "VERSION", "version_pattern": r"^([0-9.]+)$"}
        monkeypatch.setattr(
            build, "load_bases", lambda: {"tiny": Base(name="tiny", version="1.2.*", upstream=upstream, **fields)}
        )
        plain = Builder(quiet).imported("tiny")
        checkout(apply(plain, load_series(patches), quiet), tmp_path / "edit", quiet)
        own = Settings(root=tmp_path, cache=quiet.cache, own={"tiny": tmp_path / "edit"})
        assert Builder(own).imported("tiny").patched
        assert Builder(own).without_checkout("tiny").imported("tiny") == plain
