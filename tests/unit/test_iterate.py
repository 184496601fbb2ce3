# SPDX-License-Identifier: GPL-2.0-or-later
"""An edit of Linux: what has to be built, which machine loads it, and what a watch says of it."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import pygit2
import pytest
from click.testing import CliRunner
from minitree import git
from test_result import ROW

from dvhbuild import cli, cli_iterate, iterate
from dvhbuild.build import Builder
from dvhbuild.errors import CancelledError, GuestError, HostError, UserError
from dvhbuild.experiments import choose
from dvhbuild.image import MODULES_BYTES, ModulesDiskRecipe
from dvhbuild.lab import StateRecipe
from dvhbuild.process import TIME
from dvhbuild.recipes.modules import ModularKernelRecipe, is_kernel, is_kvm
from dvhbuild.series import Applied
from dvhbuild.stack import load_stack
from dvhbuild.store import Entry, Store

FILES = (
    *("arch/x86/kvm/Kconfig", "arch/x86/kvm/vmx/nested.c", "arch/x86/kernel/kvm.c", "arch/x86/include/asm/kvm_host.h"),
    *("virt/kvm/Kconfig", "virt/kvm/kvm_main.c", "virt/lib/irqbypass.c", "include/linux/kvm_host.h", "Makefile"),
    *("Documentation/virt/kvm/api.rst", "tools/testing/selftests/kvm/lib/x86.c", "tools/objtool/check.c"),
)
KVM = {"arch/x86/kvm/vmx/nested.c", "virt/kvm/kvm_main.c"}
UNUSED = {"Documentation/virt/kvm/api.rst", "tools/testing/selftests/kvm/lib/x86.c"}


@pytest.fixture
def tree(tmp_path):
    """A tree in git, and a function that makes a state of it with one file edited."""
    path = tmp_path / "linux"
    for name in FILES:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text("int x;\n")
    git("init", "-q", cwd=tmp_path / "linux")

    def edited(name=None):
        for file in FILES:
            (path / file).write_text("int y;\n" if file == name else "int x;\n")
        git("add", "--all", cwd=path)
        git("commit", "-q", "--allow-empty", "-m", "x", cwd=path)
        repository = pygit2.Repository(str(path))
        head = repository.head.peel(pygit2.Commit)
        return Applied(path / ".git", str(head.id), str(head.id), str(head.tree_id), ())

    return edited


@pytest.mark.parametrize("name", FILES)
def test_what_depends_on_a_file(tree, name):
    before, after = (ModularKernelRecipe(source, ()) for source in (tree(), tree(name)))
    assert (before.part(is_kernel) == after.part(is_kernel)) == (name in KVM | UNUSED)
    assert (before.part(is_kvm) == after.part(is_kvm)) == (name not in KVM)


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ([], ("nothing", "")),
        (["Documentation/virt/kvm/api.rst"], ("nothing", "")),
        (["Documentation/virt/kvm/api.rst", "arch/x86/kvm/x86.c"], ("modules", "arch/x86/kvm/x86.c")),
        (["arch/x86/kvm/x86.c", "include/linux/kvm_host.h"], ("kernel", "include/linux/kvm_host.h")),
        (["arch/x86/kvm/Kconfig"], ("kernel", "arch/x86/kvm/Kconfig")),
        (["arch/x86/kvmore.c"], ("kernel", "arch/x86/kvmore.c")),
    ],
)
def test_scope(paths, expected):
    assert iterate.scope(paths) == expected


def test_changed_files(tree):
    before, after = tree("Makefile"), tree("arch/x86/kvm/vmx/nested.c")
    builder = SimpleNamespace(applied=lambda _name: after)
    assert iterate.changed(builder, before.tree, after.tree) == ("Makefile", "arch/x86/kvm/vmx/nested.c")
    assert iterate.changed(builder, after.tree, after.tree) == ()


class TestDisk:
    def test_a_blank_one_and_one_with_modules_are_alike_from_outside(self, quiet, tmp_path):
        modules = tmp_path / "modules"
        modules.mkdir()
        (modules / "kvm.ko").write_bytes(b"module " * 9999)
        disks = []
        for entry in (None, Entry("kvm-modules", "1", modules, {})):
            out = tmp_path / f"out{len(disks)}"
            out.mkdir()
            ModulesDiskRecipe(entry).build(out, quiet)
            disks.append(out / "modules.img")
        blank, full = disks
        assert not any(blank.read_bytes())
        assert b"module module" in full.read_bytes()
        assert {disk.stat().st_size for disk in disks} == {MODULES_BYTES}
        assert {disk.stat().st_mtime for disk in disks} == {TIME}
        assert sorted(path.name for path in full.parent.iterdir()) == ["modules.img"]

    def test_modules_that_do_not_fit(self, quiet, tmp_path):
        (tmp_path / "kvm.ko").write_bytes(b"x" * MODULES_BYTES)
        (tmp_path / "out").mkdir()
        with pytest.raises(HostError, match="mke2fs failed"):
            ModulesDiskRecipe(Entry("kvm-modules", "1", tmp_path, {})).build(tmp_path / "out", quiet)


def test_a_kernel_that_came_out_the_same_is_the_same(quiet, tmp_path, monkeypatch):
    entries = iter(
        [Entry("linux-modular", f"inputs {number}", tmp_path / text, {}) for number, text in enumerate("aab")]
    )
    for text in "ab":
        (tmp_path / text).mkdir()
        (tmp_path / text / "bzImage").write_text(text)
    monkeypatch.setattr(Store, "obtain", lambda *_, **__: next(entries))
    monkeypatch.setattr(Builder, "recipe", lambda *_: None)
    first, same, other = (Builder(quiet, modular=True).entry("linux").digest for _ in range(3))
    assert first == same != other


def test_a_saved_machine_has_seen_no_modules(monkeypatch):
    entries = {blank: Entry("disk", f"blank: {blank}", Path(), {}) for blank in (True, False)}
    builder = MagicMock(modular=True)
    builder.of.return_value = builder
    builder.modules_disk = lambda *, blank=False: entries[blank]
    assert StateRecipe(builder, load_stack("base-2cpu"), 0).inputs()["modules"] == "blank: True"
    builder.modular = False
    assert "modules" not in StateRecipe(builder, load_stack("base-2cpu"), 0).inputs()


class TestStack:
    def test_modules_are_loaded_before_a_guest_starts(self):
        plain = load_stack("base-2cpu").configured("on")
        stack = iterate.with_modules(plain)
        assert stack.levels[0] == plain.levels[0]  # saved without KVM
        assert stack.levels[1].host == (
            "mkdir /run/kvm && ln -s /dev/sdb /run/kvm.disk && mount -t ext4 -o ro /run/kvm.disk /run/kvm",
            "insmod /run/kvm/kvm.ko halt_poll_ns=0",
            "insmod /run/kvm/kvm-intel.ko",
        )
        assert stack.levels[1].setup[1:] == (
            "insmod /run/kvm/kvm.ko halt_poll_ns=0",
            "insmod /run/kvm/kvm-intel.ko",
            "echo auto > /sys/module/kvm_intel/parameters/halt_in_guest",
        )
        assert stack.levels[1].parameters == {}
        assert stack.levels[1].devices[1] == "if=none,id=modules,format=raw,readonly=on,file=/run/kvm.disk"
        assert stack.levels[2] == plain.levels[2]

    def test_what_a_level_had_to_do_comes_after_it(self):
        plain = load_stack("base-2cpu").configured("off")
        first, second, third = plain.levels
        first = first.model_copy(update={"parameters": {"kvm_intel.nested": "1"}})
        second = second.model_copy(update={"host": ("tap",), "setup": ("up",)})
        stack = iterate.with_modules(plain.model_copy(update={"levels": (first, second, third)}))
        assert stack.levels[0].parameters == {}
        assert stack.levels[1].host[-2:] == ("echo 1 > /sys/module/kvm_intel/parameters/nested", "tap")
        assert stack.levels[1].setup[-2:] == ("insmod /run/kvm/kvm-intel.ko", "up")


class TestPlan:
    def test_experiments_by_variant(self):
        stack = load_stack("base-2cpu")
        variants = iterate.plan(stack, choose(("exits", "ipi"), stack), 200).variants()
        assert {variant: [config for _, config in of_it] for variant, of_it in variants.items()} == {
            "off": ["off", "off"],
            "on": ["on"],
        }

    def test_what_is_not_patched_shows_no_edit(self):
        stack = load_stack("matrix")
        assert not stack.configured("base").patched
        assert "base" not in iterate.plan(stack, choose(("ipi",), stack), 200).variants()

    def test_nothing_to_measure(self):
        stack = load_stack("base-2cpu").narrowed(("on",))
        with pytest.raises(UserError, match="base-2cpu: none of this is measured in the configuration on"):
            iterate.plan(stack, choose(("exits",), stack), 200)

    @pytest.mark.parametrize(
        ("name", "experiment", "machine", "message"),
        [
            ("base-2cpu", "ipi", "tcg", "runs on tcg"),
            ("selftests", "ipi", None, "has no nested guest"),
            ("base-2cpu", "idle-linux", None, "the probe, which is quickly there, does not perform it"),
            ("virtio", "traffic", None, "does not perform it"),
        ],
    )
    def test_what_it_is_not_for(self, name, experiment, machine, message):
        stack = load_stack(name, machine=machine)
        with pytest.raises(UserError, match=message):
            iterate.plan(stack, choose((experiment,), stack), 200)


def test_complaints_of_a_compiler(tmp_path):
    log = tmp_path / "log"
    log.write_text("$ make -s\nx.c:1:2: error: no\n\n    1 | x\nmake[2]: *** [x.o] Error 1\nmake: *** [all] Error 2\n")
    assert iterate.complaints(log) == ("x.c:1:2: error: no", "    1 | x")
    log.write_text("".join(f"line {number}\n" for number in range(50)))
    assert iterate.complaints(log)[-2:] == ("line 39", f"... (10 more lines: {log})")


class TestPerform:
    @pytest.fixture
    def performed(self, monkeypatch, quiet):
        """Perform with `measure` in place of machines."""
        monkeypatch.setattr(iterate, "machines", lambda: 2)
        stack = load_stack("base-2cpu")
        store = SimpleNamespace(obtain=lambda _recipe: None)
        builder = SimpleNamespace(settings=quiet, store=store, modules_disk=lambda: None)

        def run(measure, is_old=lambda: False):
            monkeypatch.setattr(iterate, "_measure", lambda _builder, _job, variant, _stack: measure(variant))
            return iterate.perform(builder, iterate.plan(stack, choose(("ipi",), stack), 200), is_old)

        return run

    @staticmethod
    def cancelled(settings):
        assert settings.cancelled.wait(10)
        raise CancelledError("cancelled")

    def test_rows_of_all_variants(self, performed):
        row = {name: ROW.model_copy(update={"config": name}) for name in ("off", "on")}
        assert performed(lambda variant: [row[variant]]) == (row["off"], row["on"])

    def test_the_first_failure_ends_the_others(self, performed, quiet):
        def measure(variant):
            if variant == "off":
                self.cancelled(quiet)
            raise GuestError("panic", level=1)

        with pytest.raises(GuestError, match="panic"):
            performed(measure)
        assert quiet.cancelled.is_set()

    def test_a_newer_tree_ends_it(self, performed, quiet):
        with pytest.raises(CancelledError, match="changed again"):
            performed(lambda _variant: self.cancelled(quiet), is_old=lambda: True)
        assert quiet.cancelled.is_set()


class TestCommand:
    @pytest.fixture
    def command(self, monkeypatch, tmp_path):
        monkeypatch.setenv("DVHBUILD_CACHE", str(tmp_path / "cache"))
        return lambda *words: CliRunner().invoke(cli.cli, ["iterate", *words]).exception

    def test_without_a_tree(self, command):
        error = command("ipi")
        assert isinstance(error, UserError)
        assert error.message == "DVHBUILD_LINUX is not set: there is no tree to watch"

    def test_with_a_tree_that_is_no_checkout(self, command, monkeypatch, tmp_path):
        monkeypatch.setenv("DVHBUILD_LINUX", str(tmp_path))
        error = command("ipi")
        assert isinstance(error, UserError)
        assert error.message == f"{tmp_path}: not a checkout of ours"


class TestSaves:
    def test_what_is_saved_is_heard_of(self, tmp_path):
        (tmp_path / "arch").mkdir()
        (tmp_path / ".git").mkdir()
        before = threading.active_count()
        with cli_iterate._watched(tmp_path) as saves:
            (tmp_path / ".git/index").touch()
            (tmp_path / "arch/.x.c.swp").touch()
            time.sleep(0.5)
            assert saves.empty()
            begin = time.monotonic()
            (tmp_path / "arch/x.c").touch()
            assert begin < saves.get(timeout=10) < begin + 5
        assert threading.active_count() == before


class TestSession:
    """What is said, with trees, builds and measurements that are only names and figures."""

    @pytest.fixture
    def session(self, monkeypatch, quiet):
        trees = SimpleNamespace(now="a", paths=("arch/x86/kvm/x86.c",), digest=None, rows=(ROW,), measured=[])

        def build(_builder):
            if isinstance(trees.digest, Exception):
                raise trees.digest
            return iterate.Built(trees.digest or trees.now, trees.warnings)

        def perform(_builder, _plan, _is_old):
            trees.measured.append(trees.now)
            if isinstance(trees.rows, Exception):
                raise trees.rows
            return trees.rows

        trees.warnings = ()
        builder = SimpleNamespace(applied=lambda _name: SimpleNamespace(tree=trees.now))
        monkeypatch.setattr(iterate, "builder", lambda _settings: builder)
        monkeypatch.setattr(iterate, "changed", lambda *_: trees.paths)
        monkeypatch.setattr(iterate, "build", build)
        monkeypatch.setattr(iterate, "perform", perform)
        stack = load_stack("base-2cpu")
        plan = iterate.plan(stack, choose(("ipi",), stack), 200)
        trees.session = cli_iterate._Session(quiet, plan, cli_iterate.SimpleQueue())
        return trees

    @pytest.fixture
    def look(self, session, capsys):
        def run(tree, **values):
            session.now = tree
            vars(session).update(values)
            session.session.look(time.monotonic())
            said = capsys.readouterr()
            return said.out + said.err

        return run

    def test_first_rows_then_differences(self, look):
        slower = ROW.model_copy(update={"l0_exits_per_op": 9.0, "instructions_p50": 40_000.0})
        slowest = ROW.model_copy(update={"l0_exits_per_op": 12.0, "instructions_p50": 50_000.0})
        said = look("a")
        assert "cpuid" in said
        assert "compared" not in said
        assert "save to verdict" not in said
        said = look("b", rows=(slower,))
        assert "arch/x86/kvm/x86.c: KVM's modules are built" in said
        assert "→ 9" in said
        assert said.count("compared with the start:\n") == 1
        assert "the save before" not in said
        said = look("c", rows=(slowest,))
        start, before = said.index("compared with the start:"), said.index("compared with the save before:")
        assert start < said.index("→ 12") < before < said.index("9 → 12")
        assert re.search(r"\n[\d.]+ s from save to verdict: built in [\d.]+ s, measured in [\d.]+ s\n$", said)

    def test_the_same_tree_is_nothing_new(self, look, session):
        look("a")
        assert look("a") == ""
        assert session.measured == ["a"]

    def test_what_is_not_built_is_not_measured(self, look, session):
        look("a")
        said = look("b", paths=("Documentation/virt/kvm/api.rst",))
        assert said == "\nDocumentation/virt/kvm/api.rst: nothing is built of it\n"
        assert session.measured == ["a"]

    def test_a_kernel_says_that_it_takes_longer(self, look):
        look("a")
        said = look("b", paths=("a", "b", "c", "d", "e"))
        assert "\na, b, c and 2 more: the kernel is built" in said
        assert "it may depend on a: this takes longer" in said

    def test_what_was_measured_is_not_measured_again(self, look, session):
        look("a")
        look("b")
        said = look("c", digest="a")  # an edit that is taken back, or changes nothing
        assert "measured before" in said
        assert session.measured == ["a", "b"]

    def test_what_does_not_compile_is_shown_and_may_be_mended(self, look, session, tmp_path):
        log = tmp_path / "log"
        log.write_text("x.c:1:2: error: no\nmake: *** [all] Error 2\n")
        look("a")
        said = look("b", digest=HostError("make failed (2): Error 2", log=log))
        assert said.index("x.c:1:2: error: no\n") < said.index("dvhbuild: make failed (2)")
        assert "again:" not in said
        assert "1 row unchanged" in look("c", digest=None)
        assert session.measured == ["a", "c"]

    def test_warnings_of_the_compiler(self, look):
        assert "x.c:1: warning: hm\n" in look("a", warnings=("x.c:1: warning: hm",))

    def test_a_guest_that_fails_gets_another_chance(self, look, session):
        look("a")
        said = look("b", rows=GuestError("L1: panic", level=1, tail=("Kernel panic",)))
        assert "dvhbuild: L1: panic\n" in said
        assert "L1| Kernel panic" in said
        assert "1 row unchanged" in look("b", rows=(ROW,))
        assert session.measured == ["a", "b", "b"]

    def test_a_tree_that_cannot_be_right_gets_none(self, look, session):
        look("a")
        assert "dvhbuild: not 6.12" in look("b", digest=UserError("not 6.12"))
        assert look("b", digest=None) == ""
        assert session.measured == ["a"]

    def test_the_first_that_succeeds_is_the_first(self, look):
        look("a", rows=GuestError("L1: panic", level=1))
        assert "compared" not in look("b", rows=(ROW,))
        assert "compared with the start" in look("c")

    def test_a_measurement_that_is_out_of_date(self, look):
        look("a")
        said = look("b", rows=CancelledError("changed again"))
        assert said.endswith("changed again\n")
        assert "dvhbuild:" not in said

    def test_whether_the_tree_is_another_one_by_now(self, look, session):
        look("a")
        assert not session.session._is_old()
        session.session.saves.put(1.0)
        assert not session.session._is_old()  # saved, but the same
        assert session.session.saves.empty()
        session.session.saves.put(2.0)
        session.now = "b"
        assert session.session._is_old()
        assert session.session.saves.get_nowait() == 2.0
