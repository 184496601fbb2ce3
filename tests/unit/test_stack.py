# SPDX-License-Identifier: GPL-2.0-or-later
"""A stack is data, and wrong data is named by file and key."""

import pytest

from dvhbuild.errors import UserError
from dvhbuild.stack import DIRECTORY, load_stack

GOOD = 'description = "d"\n[[levels]]\ncpus = 2\nmemory = 512\n'


@pytest.mark.parametrize("path", sorted(DIRECTORY.glob("*.toml")), ids=lambda path: path.stem)
def test_our_stacks_load(path):
    assert load_stack(path.stem).levels


def test_a_good_stack(tmp_path):
    (tmp_path / "s.toml").write_text(GOOD)
    stack = load_stack("s", tmp_path)
    assert (stack.name, stack.levels[0].cpus, stack.levels[0].memory) == ("s", 2, 512)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (GOOD.replace("cpus = 2", "cpus = 0"), r"levels\.0\.cpus: .*greater than or equal to 1"),
        (GOOD.replace("memory = 512", "memory = 4096"), r"levels\.0\.memory"),
        (GOOD.replace("cpus", "cpu"), r"levels\.0\.cpu"),
        ('description = "d"\n', "levels: Field required"),
        ('description = "d"\nlevels = []\n', "levels"),
        (GOOD + "[[", "not TOML"),
        ('name = "x"\n' + GOOD, "not a key"),
    ],
)
def test_a_bad_stack_is_named_by_file_and_key(tmp_path, text, says):
    (tmp_path / "s.toml").write_text(text)
    with pytest.raises(UserError, match=rf"s\.toml: .*{says}"):
        load_stack("s", tmp_path)


def test_a_missing_stack_names_those_that_exist(tmp_path):
    (tmp_path / "other.toml").write_text(GOOD)
    with pytest.raises(UserError, match="no such stack") as caught:
        load_stack("s", tmp_path)
    assert caught.value.remedy == "there are: other"
