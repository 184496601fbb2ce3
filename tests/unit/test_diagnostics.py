# SPDX-License-Identifier: GPL-2.0-or-later
"""What compilers and checkers say, as they write it, and what of it is new."""

from __future__ import annotations

import pytest

from dvhbuild.diagnostics import Warned, first_error, new, warnings

ROOTS = ("/b/tree/", "../tree/")
LOG = """\
$ make -s -C /b/tree
In file included from ../tree/arch/x86/kvm/x86.c:19:
../tree/arch/x86/kvm/vmx/posted_intr.c: In function 'vmx_pi_later':
../tree/arch/x86/kvm/vmx/posted_intr.c:198:6: warning: variable 'unused' set but not used [-Wunused-but-set-variable]
  198 |  int unused;
      |      ^~~~~~
/b/tree/arch/x86/kvm/vmx/posted_intr.c:199:31: warning: incorrect type in initializer (different address spaces)
/b/tree/arch/x86/kvm/vmx/posted_intr.c:199:31:    expected void [noderef] __user *p
/b/tree/kernel/time/tick-oneshot.c:24: warning: Function parameter 'force' not described in 'tick_program_event'
arch/x86/kvm/vmx/nested.o: warning: objtool: nested_vmx_run+0x5: unreachable instruction
/b/tree/include/linux/kvm_host.h:7:1: error: bad constant expression
../tree/include/linux/kvm_host.h:7:1: error: bad constant expression
"""


def test_each_tool_is_understood():
    assert [str(warned) for warned in warnings(LOG, ROOTS)] == [
        "arch/x86/kvm/vmx/posted_intr.c:198:6: warning: variable 'unused' set but not used [-Wunused-but-set-variable]",
        "arch/x86/kvm/vmx/posted_intr.c:199:31: warning: incorrect type in initializer (different address spaces)",
        "kernel/time/tick-oneshot.c:24: warning: Function parameter 'force' not described in 'tick_program_event'",
        "arch/x86/kvm/vmx/nested.c: warning: objtool: nested_vmx_run+0x5: unreachable instruction",
        "include/linux/kvm_host.h:7:1: error: bad constant expression",
    ]


@pytest.mark.parametrize("name", ["x86_64/a.c", "include/../x86_64/a.c", "/b/tree/tools/kvm/x86_64/a.c"])
def test_relative_names_are_completed(name):
    found = warnings(f"{name}:3:1: warning: odd\n", ROOTS, "tools/kvm")
    assert found == [Warned("tools/kvm/x86_64/a.c", ":3:1", "warning: odd")]


@pytest.mark.parametrize(("name", "told"), [("vmcs12.c", False), ("nested.c", True)])
def test_what_sparse_says_of_every_field_of_vmcs12_is_nothing_to_tell(name, told):
    line = f"/b/tree/arch/x86/kvm/vmx/{name}:55:9: warning: cast truncates bits from constant value (80d08 becomes d08)"
    assert bool(warnings(f"{line}\n", ROOTS)) == told
    assert warnings(line.replace("cast truncates", "odd"), ROOTS)


def test_new_is_what_was_not_there_as_often():
    old = [Warned("a.c", ":1:1", "warning: odd"), Warned("a.c", ":5:1", "warning: queer")]
    moved = Warned("a.c", ":9:1", "warning: odd")
    twice = Warned("a.c", ":10:1", "warning: odd")
    elsewhere = Warned("b.c", ":5:1", "warning: queer")
    assert new([moved], old) == []
    assert new([moved, twice, elsewhere], old) == [twice, elsewhere]


@pytest.mark.parametrize(
    "line",
    [
        "arch/x86/kvm/vmx/vmx.c:12:3: error: 'vmx_nonsense' undeclared (first use in this function)",
        "arch/x86/kvm/vmx/vmx.c:12:10: fatal error: nope.h: No such file or directory",
        "vmx.c:(.text+0x3b1): undefined reference to `vmx_pi_later'",
        "ld: vmlinux.o: in function `vmx_vcpu_put':: multiple definition of `vmx_pi_later'",
        'ERROR: modpost: "vmx_pi_later" [arch/x86/kvm/kvm-intel.ko] undefined!',
        "arch/x86/kvm/vmx/vmx.o: error: objtool: f() falls through to next function g()",
        "make[5]: *** No rule to make target 'arch/x86/kvm/gone.o', needed by 'arch/x86/kvm/built-in.a'.  Stop.",
    ],
)
def test_a_source_that_does_not_build_is_told_by_its_first_error(line):
    log = f"$ make -s\n../tree/a.c:1:1: warning: odd\n../tree/{line}\nb.c:1:1: error: second\nmake: *** [x] Error 2\n"
    log = log.replace("../tree/make", "make").replace("../tree/ERROR", "ERROR")
    assert first_error(log, ROOTS) == line


@pytest.mark.parametrize(
    "line",
    [
        "ccache: error: failed to create temporary file: No space left on device",
        "gcc: fatal error: Killed signal terminated program cc1",
        "make: *** [Makefile:236: __sub-make] Error 2",
    ],
)
def test_what_is_not_the_sources_fault(line):
    assert first_error(f"$ make\n{line}\n", ROOTS) is None
