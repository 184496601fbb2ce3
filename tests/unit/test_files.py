# SPDX-License-Identifier: GPL-2.0-or-later
"""Files that are written all or not at all."""

import os

import pytest

from dvhbuild.errors import HostError
from dvhbuild.files import replace


def test_a_file_is_written_with_its_directory_and_nothing_else(tmp_path):
    replace(tmp_path / "new" / "file", "größer\n")
    assert (tmp_path / "new" / "file").read_text(encoding="utf-8") == "größer\n"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file"]
    assert (tmp_path / "new" / "file").stat().st_mode & 0o777 == 0o644


def test_a_reader_of_the_old_file_keeps_it(tmp_path):
    """The new file takes the old one's place, whole: it is not written into it."""
    path = tmp_path / "file"
    path.write_text("old")
    os.link(path, tmp_path / "reader")
    replace(path, "new")
    assert (path.read_text(), (tmp_path / "reader").read_text()) == ("new", "old")


def test_a_write_that_fails_leaves_the_old_file_alone(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_text("old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(HostError, match="cannot be written: No space left"):
        replace(path, "new")
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
    assert path.read_text() == "old"


def test_a_directory_in_its_place_is_an_error(tmp_path):
    (tmp_path / "file").mkdir()
    with pytest.raises(HostError, match="cannot be written"):
        replace(tmp_path / "file", "new")
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
