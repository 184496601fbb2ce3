# SPDX-License-Identifier: GPL-2.0-or-later
"""Each patch of a series builds and brings no warning, on a miniature kernel that really is compiled."""

from __future__ import annotations

import pytest
from minitree import git, source_of, tarball, write_series

from dvhbuild.errors import HostError
from dvhbuild.prefixes import check_prefixes
from dvhbuild.recipes import KernelRecipe
from dvhbuild.series import apply, import_base, load_series

KVM = "tools/testing/selftests/kvm"
MAKEFILE = r"""
built := $(patsubst %.c,%.o,$(filter-out kvm/off.c,$(wildcard kvm/*.c)))
.PHONY: allnoconfig headers vmlinux $(built)
allnoconfig:
	cp $(KCONFIG_ALLCONFIG) $(O)/.config
headers:
	mkdir -p $(O)/usr/include
vmlinux: $(built)
	$(CC) -o $(O)/vmlinux $(addprefix $(O)/,$^)
$(built): %.o: $(O)/%.o
$(addprefix $(O)/,$(built)): $(O)/%.o: %.c include/kvm.h
	mkdir -p $(@D) && echo $< >> $(O)/compiled
	$(CC) -Wno-error=int-conversion -Iinclude $(if $(W),-Wunused-but-set-variable) -c $< -o $@
	$(if $(C),awk '/__user/ { print FILENAME ":" FNR ":9: warning: different address spaces" }' $<)
"""
SELFTESTS = r"""
TEST_GEN_PROGS_x86_64 = x86_64/first
TEST_GEN_PROGS_x86_64 += x86_64/second
programs := $(addprefix $(OUTPUT)/,$(TEST_GEN_PROGS_x86_64))
$(programs): %: %.o
	$(CC) $(LDFLAGS) -o $@ $<
$(addsuffix .o,$(programs)): $(OUTPUT)/%.o: %.c lib.h
	mkdir -p $(@D) && echo $< >> $(OUTPUT)/compiled
	$(CC) -Wno-error=int-conversion -Wall -I. -c $< -o $@
"""
FILES = {
    "Makefile": MAKEFILE,
    "include/kvm.h": "int helper(void);\n",
    "kvm/main.c": '#include "kvm.h"\n\nint main(void)\n{\n\tint old;\n\told = 1;\n\treturn helper();\n}\n',
    "kvm/helper.c": '#include "kvm.h"\n\nint helper(void)\n{\n\treturn 0;\n}\n',
    "kvm/noisy.c": "char *noisy(void)\n{\n\treturn 1;\n}\n",
    "kvm/off.c": "this is no C\n",
    f"{KVM}/Makefile": SELFTESTS,
    f"{KVM}/lib.h": "#define WANTED 0\n",
    f"{KVM}/x86_64/first.c": '#include "lib.h"\n\nint main(void)\n{\n\treturn WANTED;\n}\n',
    f"{KVM}/x86_64/second.c": '#include "lib.h"\n\nint main(void)\n{\n\tint old;\n\treturn WANTED + 0;\n}\n',
}
HELPER = "\treturn 0;\n"


class Kernel:
    """Upstream's tree to make patches in, and what is found in them."""

    def __init__(self, tmp_path, settings):
        self.directory = tmp_path
        self.settings = settings
        self.tree = tmp_path / "kernel"
        self.patches = 0
        for name, text in FILES.items():
            self.write(name, text)
        git("init", "-q", "-b", "main", cwd=self.tree)
        git("add", "-A", cwd=self.tree)
        git("commit", "-qm", "kernel", cwd=self.tree)
        (tmp_path / "any.config").write_text("")
        self.imported = import_base(source_of(tarball(tmp_path / "kernel.tar.xz", FILES)), settings)

    def write(self, name, text):
        (self.tree / name).parent.mkdir(parents=True, exist_ok=True)
        (self.tree / name).write_text(text)

    def patch(self, name, old, new):
        """A patch that replaces `old` in file `name`."""
        text = (self.tree / name).read_text() if (self.tree / name).exists() else ""
        assert old in text
        self.write(name, text.replace(old, new, 1))
        git("add", "-A", cwd=self.tree)
        git("commit", "-qm", f"p{self.patches + 1}", cwd=self.tree)
        self.patches += 1

    def check(self):
        series = load_series(write_series(self.tree, self.directory / "p", base=f"main~{self.patches}"))
        recipe = KernelRecipe(apply(self.imported, series, self.settings), (self.directory / "any.config",))
        said = [str(finding).rpartition("/p/")[2] for finding in check_prefixes(recipe, series, self.settings)]
        return [text.translate({0x2018: "'", 0x2019: "'"}) for text in said]

    def compiled(self, build):
        path = self.settings.cache / "work/linux-prefixes" / build / "compiled"
        return path.read_text().split()


@pytest.fixture
def kernel(tmp_path, quiet):
    return Kernel(tmp_path, quiet)


def test_good_patches(kernel, heard):
    kernel.patch("kvm/helper.c", HELPER, "\treturn 1;\n")
    kernel.patch(f"{KVM}/x86_64/first.c", "WANTED", "!WANTED")
    assert kernel.check() == []
    assert [title for title in heard.steps if title.startswith("build as of")] == [
        "build as of no patch",
        "build as of patch 1 of 2, 0001-p1.patch",
        "build as of patch 2 of 2, 0002-p2.patch",
    ]


def test_only_what_changed_is_compiled(kernel):
    kernel.patch("kvm/helper.c", HELPER, "\treturn 1;\n")
    kernel.patch(f"{KVM}/x86_64/first.c", "WANTED", "!WANTED")
    kernel.check()
    assert sorted(kernel.compiled("build")) == ["kvm/helper.c", "kvm/helper.c", "kvm/main.c", "kvm/noisy.c"]
    assert kernel.compiled("build-strict") == ["kvm/helper.c", "kvm/helper.c"]
    assert kernel.compiled("build-selftests/selftests") == ["x86_64/first.c", "x86_64/first.c"]


def test_broken_by_one_and_mended_by_the_next(kernel):
    kernel.patch("kvm/helper.c", HELPER, "\treturn nonsense;\n")
    kernel.patch("kvm/helper.c", "nonsense", "2")
    [found] = kernel.check()
    assert found.startswith("0001-p1.patch: the kernel does not build: kvm/helper.c:5:16: error: 'nonsense' undeclared")


def test_what_does_not_link(kernel):
    kernel.patch("include/kvm.h", "\n", "\nint later(void);\n")
    kernel.patch("kvm/main.c", "return helper", "return later() + helper")
    kernel.patch("kvm/later.c", "", '#include "kvm.h"\n\nint later(void)\n{\n\treturn 0;\n}\n')
    [found] = kernel.check()
    assert found.startswith("0002-p2.patch: the kernel does not build: ")
    assert "undefined reference to `later'" in found


def test_a_header_that_breaks_another_file(kernel):
    kernel.patch("include/kvm.h", "int helper", "long helper")
    assert [found.partition(" error")[0] for found in kernel.check()] == [
        "0001-p1.patch: the kernel does not build: kvm/helper.c:3:5:"
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("\tint set;\n\tset = 1;\n", "kvm/helper.c:5:13: warning: variable 'set' set but not used"),
        ("\tchar *p = 1;\n\t(void)p;\n", "kvm/helper.c:5:19: warning: initialization of 'char *' from 'int'"),
        ("\tvoid *p = 0; /* __user */\n\t(void)p;\n", "kvm/helper.c:5:9: warning: different address spaces"),
    ],
)
def test_a_new_warning_is_told_once_with_its_patch(kernel, line, said):
    kernel.patch("kvm/main.c", "return helper", "return 1 + helper")
    kernel.patch("kvm/helper.c", HELPER, line + HELPER)
    kernel.patch("kvm/helper.c", HELPER, "\treturn 1;\n")
    [found] = kernel.check()
    assert found.startswith(f"0002-p2.patch: new: {said}")


def test_an_old_warning_that_moves_is_not_new_but_a_second_one_is(kernel):
    kernel.patch("kvm/main.c", "\n\nint main", "\n\n\nint main")
    kernel.patch("kvm/main.c", "\told = 1;\n", "\told = 1;\n\t{\n\t\tint old;\n\t\told = 2;\n\t}\n")
    [found] = kernel.check()
    assert found.startswith("0002-p2.patch: new: kvm/main.c:6:13: warning: variable 'old' set but not used")


def test_old_warnings_of_what_is_compiled_anew_but_not_touched(kernel):
    kernel.patch("include/kvm.h", "\n", "\n\n")
    assert kernel.check() == []


def test_again_finds_the_same(kernel):
    kernel.patch("kvm/helper.c", HELPER, "\tint set;\n\tset = 1;\n" + HELPER)
    kernel.patch("kvm/helper.c", HELPER, "\treturn 1;\n")
    first = kernel.check()
    assert len(first) == 1
    assert kernel.check() == first


def test_old_warnings_are_known_after_a_series_that_comes_back_to_its_base(kernel):
    for name in ("kvm/main.c", f"{KVM}/x86_64/second.c"):
        kernel.patch(name, "\n\nint main", "\n\n\nint main")
        kernel.patch(name, "\n\n\nint main", "\n\nint main")
    assert kernel.check() == []
    assert kernel.check() == []


def test_selftests_that_break(kernel):
    kernel.patch("kvm/helper.c", HELPER, "\treturn 1;\n")
    kernel.patch(f"{KVM}/x86_64/first.c", "return WANTED", "return UNWANTED")
    kernel.patch(f"{KVM}/x86_64/first.c", "UNWANTED", "WANTED")
    [found] = kernel.check()
    assert found.startswith("0002-p2.patch: the selftests do not build: x86_64/first.c:5:16: error: 'UNWANTED'")


def test_a_header_of_the_selftests_concerns_them_all(kernel):
    kernel.patch(f"{KVM}/lib.h", "WANTED 0", "WANTED (0)")
    assert kernel.check() == []
    assert sorted(set(kernel.compiled("build-selftests/selftests"))) == ["x86_64/first.c", "x86_64/second.c"]
    kernel.patch(f"{KVM}/lib.h", "WANTED", "RENAMED")
    [found] = kernel.check()
    assert found.startswith("0002-p2.patch: the selftests do not build: x86_64/")


def test_a_header_of_the_selftests_beside_a_test_concerns_them_all(kernel):
    (kernel.tree / KVM / "lib.h").write_text("#define RENAMED 0\n")
    kernel.patch(f"{KVM}/x86_64/first.c", "WANTED", "RENAMED")
    [found] = kernel.check()
    assert found.startswith("0001-p1.patch: the selftests do not build: x86_64/second.c:6:16: error: 'WANTED'")


def test_a_new_warning_in_a_selftest(kernel):
    kernel.patch(f"{KVM}/x86_64/second.c", "\treturn", "\tint unused;\n\treturn")
    [found] = kernel.check()
    assert found.startswith(f"0001-p1.patch: new: {KVM}/x86_64/second.c:6:13: warning: unused variable 'unused'")


def test_what_is_not_configured_is_told(kernel, heard):
    kernel.patch("kvm/off.c", "no C", "not C")
    assert kernel.check() == []
    assert "kvm/off.c: not compiled, our configuration does not have it" in heard.remarks


def test_a_failure_that_is_not_the_sources(kernel):
    kernel.patch("Makefile", "\tmkdir -p $(@D) && echo $<", "\tfalse && echo $<")
    kernel.patch("kvm/helper.c", HELPER, "\treturn 1;\n")
    with pytest.raises(HostError, match="make failed"):
        kernel.check()


def test_an_empty_series(kernel, heard):
    series = kernel.directory / "none"
    series.mkdir()
    (series / "series").write_text("# Applies to 1.2.*\n")
    loaded = load_series(series)
    recipe = KernelRecipe(apply(kernel.imported, loaded, kernel.settings), ())
    assert check_prefixes(recipe, loaded, kernel.settings) == ()
    assert not (kernel.settings.cache / "work").exists()


def test_a_base_that_does_not_build(kernel):
    kernel.imported = import_base(
        source_of(tarball(kernel.directory / "b.tar.xz", {**FILES, "kvm/main.c": "this is no C\n"})), kernel.settings
    )
    kernel.patch("kvm/helper.c", HELPER, "\treturn 1;\n")
    with pytest.raises(HostError, match=r"without the series, linux does not build: kvm/main.c:1:1: error: "):
        kernel.check()
