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
        (GOOD + "parameters = {'kvm' = '1'}\n", r"levels\.0\.parameters\.kvm"),
        (GOOD + "parameters = {'kvm.a' = '1; halt'}\n", r"levels\.0\.parameters\.kvm\.a"),
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


CONFIGURED = GOOD + "[configs.off.0]\nappend = 'quiet'\nparameters = {'kvm.a' = '1'}\n[configs.on]\n"


def test_a_configuration_changes_what_it_names(tmp_path):
    (tmp_path / "s.toml").write_text(CONFIGURED)
    stack = load_stack("s", tmp_path)
    off, on = stack.configured("off"), stack.configured("on")
    assert (off.levels[0].append, off.levels[0].memory, off.configs) == ("quiet", 512, {})
    assert (off.levels[0].parameters, on.levels[0].parameters) == ({"kvm.a": "1"}, {})
    assert on.levels == stack.levels
    with pytest.raises(UserError, match="no configuration of"):
        stack.configured("of")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("off.0", "off.1", r"configs\.off\.1: the stack ends at L0"),
        ("append", "memory", r"configs\.off\.0\.memory"),
        ("off.0", "off.x", r"configs\.off\.x"),
    ],
)
def test_a_bad_configuration_is_named(tmp_path, old, new, says):
    (tmp_path / "s.toml").write_text(CONFIGURED.replace(old, new))
    with pytest.raises(UserError, match=rf"s\.toml: .*{says}"):
        load_stack("s", tmp_path)
