# SPDX-License-Identifier: GPL-2.0-or-later
"""The formats of a series: the list of patches, and patches as mails."""

from __future__ import annotations

import subprocess
from email.header import Header

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from dvhbuild.errors import UserError
from dvhbuild.patchfiles import SERIES, load_series, parse_mail, rewrite_list


class TestList:
    def write(self, tmp_path, text, names=("a.patch", "b.patch")):
        for name in names:
            (tmp_path / name).write_text(name)
        (tmp_path / SERIES).write_text(text)
        return tmp_path

    def test_good(self, tmp_path):
        series = load_series(self.write(tmp_path, "# Applies to 6.12.*; and so on.\n\na.patch\n # c\n b.patch \n"))
        assert (series.names, series.applies_to) == (("a.patch", "b.patch"), "6.12.*")

    def test_digest_covers_order_and_contents(self, tmp_path):
        head = "# Applies to 1.*\n"
        digests = [
            load_series(self.write(tmp_path, head + text)).digest
            for text in ("a.patch\nb.patch\n", "b.patch\na.patch\n")
        ]
        (tmp_path / "a.patch").write_text("other")
        digests.append(load_series(tmp_path).digest)
        assert len(set(digests)) == 3

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("# Applies to 1.*\na.patch\n../b.patch\n", "series:3: '../b.patch' is not a file name"),
            ("# Applies to 1.*\na.patch b.patch\n", "series:2: 'a.patch b.patch' is not a file name"),
            ("# Applies to 1.*\n\na.patch\n#\na.patch\n", "series:5: a.patch is listed twice"),
            ("# Applies to 1.*\nc.patch\n", "series:2: c.patch: no such file"),
            ("a.patch\n", "does not say what it applies to"),
            ("# Applies to nothing\n", "does not say what it applies to"),
        ],
    )
    def test_faulty(self, tmp_path, text, said):
        with pytest.raises(UserError) as caught:
            load_series(self.write(tmp_path, text))
        assert said in caught.value.message

    def test_missing(self, tmp_path):
        with pytest.raises(UserError, match="No such file"):
            load_series(tmp_path)


name = st.from_regex(r"[a-z0-9][a-z0-9.+-]{0,8}", fullmatch=True)
comment = st.from_regex(r"#[ -~]{0,10}", fullmatch=True)
listing = st.lists(name, unique=True, max_size=6).flatmap(
    lambda names: st.tuples(
        st.just(names), st.lists(st.lists(comment, max_size=2), min_size=len(names) + 1, max_size=len(names) + 1)
    )
)


def as_text(names, comments):
    blocks = [[*above, entry] for above, entry in zip(comments, names, strict=False)]
    return "".join(f"{line}\n" for line in [*(line for block in blocks for line in block), *comments[-1]])


class TestRewrite:
    @given(listing)
    def test_same_names_same_bytes(self, given_list):
        names, comments = given_list
        text = as_text(names, comments)
        assert rewrite_list(text, names, {entry: entry for entry in names}) == text

    @given(listing, st.randoms(), st.lists(name, unique=True, max_size=2))
    def test_other_names_same_comments(self, given_list, random, added):
        names, comments = given_list
        kept = [entry for entry in names if random.random() < 0.7]
        new = [*kept, *(entry for entry in added if entry not in names)]
        random.shuffle(new)
        text = rewrite_list(as_text(names, comments), new, {entry: entry for entry in kept})
        lines = text.splitlines()
        assert [line for line in lines if not line.startswith("#")] == new
        assert sorted(line for line in lines if line.startswith("#")) == sorted(
            line for above in comments for line in above
        )
        assert lines[: len(comments[0])] == comments[0]

    def test_comment_follows_its_patch(self):
        text = "# head\na\n# on b\nb\n# on c\nc\n"
        assert rewrite_list(text, ["x", "c", "b2"], {"b": "b2", "c": "c"}) == "# head\nx\n# on c\nc\n# on b\nb2\n"


words = st.text(
    st.characters(codec="utf-8", exclude_categories=("C", "Z", "S", "M"), exclude_characters='()<>@,;:"\\'),
    min_size=1,
    max_size=12,
)
sentence = st.lists(words, min_size=1, max_size=14).map(" ".join)
body_line = st.text(
    st.characters(min_codepoint=32, codec="utf-8", exclude_categories=("C", "Zl", "Zp", "M")), max_size=40
)


class TestMail:
    DIFF = "---\n a | 2 +-\n\ndiff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1 +1 @@\n-a\n+b\n"

    def mail(self, author="A <a@b>", subject="[PATCH] change", body="why\n", date="Sun, 1 Mar 2026 12:00:00 +0130"):
        first = f"From {'0' * 40} Mon Sep 17 00:00:00 2001"
        return f"{first}\nFrom: {author}\nDate: {date}\nSubject: {subject}\n\n{body}{self.DIFF}".encode()

    def test_plain(self):
        mail = parse_mail(self.mail(), "x")
        assert (mail.author, mail.email, mail.time, mail.offset) == ("A", "a@b", 1772361000, 90)
        assert mail.message == "change\n\nwhy\n"
        assert mail.diff.decode() == self.DIFF

    def test_blanks(self):
        body = "\n\n  indented  \n\n\n\nlast\n\n\n"
        assert parse_mail(self.mail(body=body), "x").message == "change\n\n  indented\n\nlast\n"

    @pytest.mark.parametrize(
        ("subject", "expected"),
        [
            ("[PATCH v2 3/17] KVM: nVMX: one", "KVM: nVMX: one"),
            ("Re: [RFC] [PATCH] two", "two"),
            ("[PATCH] folded\n over two  lines", "folded over two lines"),
            ("=?UTF-8?q?[PATCH]=20=C3=A9tude?=", "étude"),
            ("=?UTF-8?q?[PATCH]=20=C3=A9tude=20?=\n =?UTF-8?q?=C3=A9?=", "étude é"),
            ("[PATCH] raw é", "raw é"),
            ("[PATCH] array[3] stays", "array[3] stays"),
        ],
    )
    def test_subject(self, subject, expected):
        assert parse_mail(self.mail(subject=subject), "x").message == f"{expected}\n\nwhy\n"

    @pytest.mark.parametrize(
        ("old", "new", "said"),
        [
            (b"From: A <a@b>\n", b"", "no usable From: line"),
            (b"From: A <a@b>\n", b"From: A\n", "no usable From: line"),
            (b"Date: Sun, 1 Mar 2026 12:00:00 +0130", b"Date: soon", "no usable Date: line"),
            (b"Subject: [PATCH] change\n", b"", "no usable Subject: line"),
            (b"@@ -1", b"-1", "no diff in it"),
        ],
    )
    def test_faulty(self, old, new, said):
        data = self.mail().replace(old, new)
        with pytest.raises(UserError) as caught:
            parse_mail(data, "0001-x.patch")
        assert caught.value.message.startswith("0001-x.patch: ")
        assert said in caught.value.message

    def test_transfer_encoding(self):
        head, _, rest = self.mail().partition(b"\n\n")
        quoted = rest.replace(b"=", b"=3D").replace(b"why", b"=C3=A9t=\n=C3=A9")
        extra = b"\nContent-Type: text/plain; charset=UTF-8\nContent-Transfer-Encoding: quoted-printable\n\n"
        assert parse_mail(head + extra + quoted, "x").message == "change\n\nété\n"

    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(sentence, sentence, st.lists(body_line, max_size=6), st.booleans())
    @example(author="somebody", subject="0", body=["\xa0"], encoded=False)
    def test_agrees_with_git(self, tmp_path, author, subject, body, encoded):
        text = "".join(f"{line}\n" for line in body)
        assume(
            not any(
                line.lower().lstrip(">").startswith(("from", "date:", "subject:", "[patch", "diff -", "index: ", "---"))
                for line in body
            )
        )
        assume(not author.startswith("=?"))
        assume(len(author) > 2)  # older gits take the address then
        assume("=?" not in subject)
        subject = f"[PATCH] {subject}"
        mail = self.mail(
            author=f"{Header(author, 'utf-8').encode() if encoded else author} <a@b.org>",
            subject=Header(subject, "utf-8").encode() if encoded else subject,
            body=text,
        )
        argv = ["git", "mailinfo", "--no-scissors", "msg", "patch"]
        done = subprocess.run(argv, cwd=tmp_path, input=mail, capture_output=True, check=True)
        info = dict(line.split(": ", 1) for line in done.stdout.decode().splitlines() if ": " in line)
        ours = parse_mail(mail, "x")
        stripped = subprocess.run(
            ["git", "stripspace"], input=(tmp_path / "msg").read_bytes(), capture_output=True, check=True
        ).stdout.decode()
        theirs = f"{info.get('Subject', '')}\n\n{stripped}".strip("\n") + "\n"
        assert ours.message == theirs
        assert ours.author == info["Author"]
        assert ours.diff == (tmp_path / "patch").read_bytes()
