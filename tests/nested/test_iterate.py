# SPDX-License-Identifier: GPL-2.0-or-later
"""A tree under watch: edits that do not compile, that break a guest, that need a kernel; and the end of it."""

import os
import re
import signal
import subprocess
import sys
import uuid

import pytest
from procs import descendants, left
from watched import Watched

pytestmark = pytest.mark.nested

INIT = "static int __init vmx_init(void)\n{\n\tint r, cpu;\n"
KVM = "arch/x86/kvm/vmx/vmx.c"
HEADER = "arch/x86/include/asm/kvm_host.h"
KERNEL = "kernel/entry/kvm.c"


@pytest.fixture
def watched(builder, tmp_path):
    tree = tmp_path / "linux"
    subprocess.run([sys.executable, "-m", "dvhbuild", "series", "checkout", "linux", tree], check=True)
    argv = [sys.executable, "-m", "dvhbuild", "iterate", "ipi"]
    with Watched(argv, tmp_path / "said", {**os.environ, "DVHBUILD_LINUX": str(tree)}) as watched:
        yield tree, watched


def test_a_day_at_the_desk(watched):
    tree, watch = watched

    def edit(name, old, new):
        text = (tree / name).read_text()
        assert text.count(old) == 1
        (tree / name).write_text(text.replace(old, new))
        return watch.hear()

    first = watch.hear()
    assert "ipi-halted" in first
    assert "compared" not in first

    said = edit(KVM, INIT, f"{INIT}\n\toops;\n")
    assert re.search(r"vmx.c:\d+:\d+: error: .oops. undeclared", said)
    assert "dvhbuild: make failed" in said

    said = edit(KVM, "\toops;\n", '\tpanic("edited");\n')
    assert f"{KVM}: KVM's modules are built" in said
    assert "L0: the kernel panicked: Kernel panic - not syncing: edited" in said

    said = edit(KVM, '\n\tpanic("edited");\n', "")
    assert "8 rows unchanged" in said
    assert "measured before" in said

    end = "#endif /* _ASM_X86_KVM_HOST_H */\n"
    said = edit(HEADER, end, f"#define UNUSED 1\n{end}")
    assert f"{HEADER}: the kernel is built" in said
    assert "measured before" in said

    include = "#include <linux/kvm_host.h>\n"
    said = edit(KERNEL, include, f'{include}\nstatic const char edited[] __used = "{uuid.uuid4()}";\n')
    assert f"{KERNEL}: the kernel is built" in said
    assert "boot L0" in said
    assert "compared with the start:" in said

    pids = descendants(watch.process.pid)
    watch.process.send_signal(signal.SIGINT)
    assert watch.process.wait(30) == 130
    assert left(pids) == []
