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


CONFIGURED = GOOD + "[configs.off.changes.0]\nappend = 'quiet'\nparameters = {'kvm.a' = '1'}\n[configs.on]\n"


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
        ("off.changes.0", "off.changes.1", r"configs\.off\.changes\.1: the stack ends at L0"),
        ("append", "memory", r"configs\.off\.changes\.0\.memory"),
        ("off.changes.0", "off.changes.x", r"configs\.off\.changes\.x"),
        ("changes.0", "change.0", r"configs\.off\.change: "),
        (GOOD, f"measured = ['on', 'of']\n{GOOD}", "measured: of is none of its configs: off, on"),
    ],
)
def test_a_bad_configuration_is_named(tmp_path, old, new, says):
    (tmp_path / "s.toml").write_text(CONFIGURED.replace(old, new))
    with pytest.raises(UserError, match=rf"s\.toml: .*{says}"):
        load_stack("s", tmp_path)


# ---- a stack that is another one with changes

BASE = (
    GOOD
    + "[[levels]]\ncpus = 1\nmemory = 64\nqemu = ['-a']\ndevices = ['-device', 'old']\n"
    + "[configs.on.changes.1]\nqemu = ['-b']\n[configs.off.changes.1]\nqemu = ['-c']\n"
)
DERIVED = (
    "base = 'b'\ndescription = 'd'\n[changes.1]\ndevices = ['-device', 'new']\nhost = ['true']\n"
    "[configs.on.changes.1]\ndevices = ['-device', 'on']\n"
)


def derived(tmp_path, text):
    (tmp_path / "b.toml").write_text(BASE)
    (tmp_path / "c.toml").write_text(GOOD + "[configs.on]\n")
    (tmp_path / "s.toml").write_text(text)
    return load_stack("s", tmp_path)


def test_a_derived_stack_keeps_what_it_does_not_name(tmp_path):
    stack = derived(tmp_path, DERIVED)
    assert (stack.name, stack.levels[0].memory) == ("s", 512)
    on, off = (stack.configured(name).levels[1] for name in ("on", "off"))
    assert (on.qemu, on.devices, on.host) == (("-b",), ("-device", "on"), ("true",))
    assert (off.qemu, off.devices, off.host) == (("-c",), ("-device", "new"), ("true",))
    assert load_stack("b", tmp_path).levels[1].devices == ("-device", "old")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("[changes.1", "[changes.2", r"changes\.2: the stack b ends at L1"),
        ("on.changes.1", "on.changes.2", r"configs\.on\.changes\.2: the stack ends at L1"),
        ("host", "hosts", r"changes\.1\.hosts"),
        ("base = 'b'", "base = 's'", "cannot be its own base: s <- s"),
        ("base = 'b'", "base = 'x'", "x.toml: no such stack"),
        ("base = 'b'", "base = 'b'\nlevels = []", "levels"),
        ("[configs.on.c", "[configs.on]\nlike = 'b'\n[configs.on.c", r"configs\.on\.like: "),
        ("[configs.on.c", "[configs.on]\nlike = 'b:of'\n[configs.on.c", "b: this stack has no configuration of"),
        ("[configs.on.c", "[configs.on]\nlike = 's:on'\n[configs.on.c", "cannot be its own base: s <- s"),
        ("[configs.on.c", "[configs.on]\nlike = 'c:on'\n[configs.on.c", "c:on has other levels, CPUs or memory"),
    ],
)
def test_a_bad_derived_stack_is_named(tmp_path, old, new, says):
    with pytest.raises(UserError, match=says):
        derived(tmp_path, DERIVED.replace(old, new))


def test_a_configuration_may_be_like_one_of_another_stack_but_for_what_it_names(tmp_path):
    like = "[configs.other]\nlike = 'b:on'\n[configs.other.changes.1]\nhost = ['false']\n"
    level = derived(tmp_path, DERIVED + like).configured("other").levels[1]
    assert (level.qemu, level.devices, level.host) == (("-b",), ("-device", "old"), ("false",))


def test_a_configuration_may_be_without_patches_and_keeps_being_so(tmp_path):
    like = "[configs.old]\npatched = false\n[configs.like]\nlike = 's2:old'\n"
    stack = derived(tmp_path, DERIVED + like.partition("[configs.like]")[0])
    assert [stack.configured(name).patched for name in ("on", "off", "old")] == [True, True, False]
    (tmp_path / "s.toml").rename(tmp_path / "s2.toml")
    (tmp_path / "s.toml").write_text(DERIVED + like)
    assert not load_stack("s", tmp_path).configured("like").patched


def test_what_is_measured_can_be_narrowed(tmp_path):
    stack = derived(tmp_path, DERIVED + "[configs.old]\n")
    assert stack.variants == ("on", "off", "old")
    assert stack.narrowed(("old", "on")).variants == ("old", "on")
    assert stack.narrowed(("old", "on", "old", "on")).variants == ("old", "on")
    assert stack.narrowed(()) == stack
    one = derived(tmp_path, DERIVED.replace("[changes", "measured = ['off']\n[changes"))
    assert (one.variants, one.narrowed(()).variants, one.narrowed(("on",)).variants) == (("off",), ("off",), ("on",))
    with pytest.raises(UserError, match="no configuration of"):
        stack.narrowed(("on", "of"))


def test_levels_are_what_they_are_whatever_the_stack_is_called(tmp_path):
    stack = derived(tmp_path, DERIVED)
    other = stack.model_copy(update={"name": "t", "description": "e", "experiments": ("ipi",)})
    assert stack.essence(1) == other.essence(1) != stack.essence(0)
    assert stack.essence(1) != stack.model_copy(update={"machine": "tcg"}).essence(1)
    assert len({stack.configured(name).essence(1) for name in ("on", "off")}) == 2


def test_the_matrix_has_each_mechanism_alone_and_all_together():
    stack = load_stack("matrix")
    on = {name: stack.configured(name).levels for name in stack.variants}
    assert on["dvh"] == load_stack("vp").configured("on").levels
    assert on["off"] == load_stack("virtio").configured("off").levels
    assert not stack.configured("base").patched
    devices = {name: levels[2].devices == on["dvh"][2].devices for name, levels in on.items()}
    assert [name for name, assigned in devices.items() if assigned] == ["vp-nopi", "vp", "dvh"]
    posting = [name for name, levels in on.items() if "intel-iommu.pi=on" in levels[1].qemu]
    assert posting == ["vp", "dvh"]
    assert [name for name, levels in on.items() if levels[1].parameters] == ["idle", "dvh"]


def test_virtual_passthrough_is_on_only_and_of_the_devices_that_are_cascaded_otherwise():
    virtio, vp = load_stack("virtio"), load_stack("vp-nopi")
    assert vp.configured("off").levels == virtio.configured("off").levels
    slots = {word.partition("addr=")[2][:4] for word in virtio.levels[2].devices} - {""}
    l1, l2 = vp.configured("on").levels[1:]
    assert {word.partition("addr=")[2][:4] for word in l1.devices} - {""} == slots
    assert {word for word in l2.devices if word != "-device"} == {
        f"vfio-pci,host=0000:00:{slot[2:]}.0,addr={slot}" for slot in slots
    }


def test_posted_interrupts_are_one_option_of_l1():
    without, posted = (load_stack(name).configured("on").levels for name in ("vp-nopi", "vp"))
    assert posted[1].qemu == (*without[1].qemu, "-global", "intel-iommu.pi=on")
    assert posted == (without[0], without[1].model_copy(update={"qemu": posted[1].qemu}), without[2])
    assert load_stack("vp").configured("off").levels == load_stack("virtio").configured("off").levels
