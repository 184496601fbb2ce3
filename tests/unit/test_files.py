# SPDX-License-Identifier: GPL-2.0-or-later
"""Files that are written all or not at all."""

import os
import subprocess
import sys
from pathlib import Path

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


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path):
    (tmp_path / "there").mkdir()
    link = tmp_path / "link"
    link.symlink_to("there/file")
    for text in ("new", "newer"):  # it leads nowhere, then to a file
        replace(link, text)
        assert (tmp_path / "there" / "file").read_text() == text
    assert link.is_symlink()
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["file"]


def test_a_pipe_gets_it_and_stays(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    replace(pipe, "new")
    assert (os.read(reader, 9), pipe.is_fifo()) == (b"new", True)
    os.close(reader)


def test_a_terminal_gets_it():
    ours, theirs = os.openpty()
    replace(Path(os.ttyname(theirs)), "new")
    assert os.read(ours, 9) == b"new"
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize("name", ["stdout", "out"])
def test_our_own_output_is_not_replaced(tmp_path, name):
    """Neither is what was there lost, nor what is said later."""
    (tmp_path / "stdout").symlink_to("/proc/self/fd/1")  # as /dev/stdout is
    (tmp_path / "out").write_text("before\n")
    script = (
        "import sys; from pathlib import Path; from dvhbuild.files import replace\n"
        "print('first'); replace(Path(sys.argv[1]), 'new\\n'); print('last')\n"
    )
    with (tmp_path / "out").open("ab") as out:
        subprocess.run([sys.executable, "-E", "-c", script, name], stdout=out, cwd=tmp_path, check=True)
    assert (tmp_path / "out").read_text() == "before\nfirst\nnew\nlast\n"
