# SPDX-License-Identifier: GPL-2.0-or-later
"""What programs of a distribution need to run in a guest is found by what their loader says."""

import shutil
from pathlib import Path

import pytest

from dvhbuild.errors import HostError
from dvhbuild.packages import Packages
from dvhbuild.process import output
from dvhbuild.recipes import iperf, programs, workloads
from dvhbuild.steps import Silent

IPERF = Path("/usr/bin/iperf3")
SAID = """\
	linux-vdso.so.1 (0x00007fff34ffd000)
	libiperf.so.0 => /usr/lib/x86_64-linux-gnu/libiperf.so.0 (0x00007f4c3b5d3000)
	libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f4c3b3f2000)
	/lib64/ld-linux-x86-64.so.2 (0x00007f4c3b629000)
"""
OF_ITS_OWN = """\
	linux-vdso.so.1 (0x00007f78fd365000)
	libc.so.6 => /tree/usr/lib/x86_64-linux-gnu/libc.so.6 (0x00007f78fd162000)
	/lib64/ld-linux-x86-64.so.2 => /tree/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2 (0x00007f78fd367000)
"""
"""What the loader of a tree says that is started by its path."""


def test_libraries_and_the_loader_are_found():
    libraries = ("/usr/lib/x86_64-linux-gnu/libiperf.so.0", "/lib/x86_64-linux-gnu/libc.so.6")
    loaded = ("/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/libgcc_s.so.1")
    assert programs.libraries(IPERF, SAID, "") == (*map(Path, libraries), *map(Path, loaded))
    of_its_own = ("libc.so.6", "ld-linux-x86-64.so.2", "libgcc_s.so.1")
    assert programs.libraries(IPERF, OF_ITS_OWN, "") == tuple(
        Path("/tree/usr/lib/x86_64-linux-gnu", name) for name in of_its_own
    )


def test_a_library_that_is_missing_is_told():
    with pytest.raises(HostError, match=r"iperf3: libsctp\.so\.1 => not found") as caught:
        programs.libraries(IPERF, "\tlibsctp.so.1 => not found\n" + SAID, "install it")
    assert caught.value.remedy == "install it"


def test_a_machine_without_iperf3_is_told_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr(iperf, "PROGRAM", tmp_path / "iperf3")
    with pytest.raises(HostError, match="iperf3: not installed") as caught:
        iperf.parts()
    assert caught.value.remedy == "dvhbuild doctor --install"


@pytest.fixture
def tree(tmp_path):
    """Unpacked packages: this machine's `true`, its loader and its libraries."""
    program = Path(shutil.which("true"))
    found = programs.libraries(program, output(["ldd", program], reporter=Silent()), "")
    for path in found:
        copy = tmp_path / "tree/usr/lib/x86_64-linux-gnu" / path.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    (tmp_path / "tree/usr/bin").mkdir(parents=True)
    shutil.copy(program, tmp_path / "tree/usr/bin")
    return tmp_path / "tree"


def test_a_program_of_packages_has_all_its_parts_from_there(tree, tmp_path, quiet):
    parts = workloads.parts(tree, tree / "usr/bin/true", quiet)
    assert [path.name for path in parts] == ["true", "libc.so.6", "ld-linux-x86-64.so.2", "libgcc_s.so.1"]
    assert all(path.is_relative_to(tree) for path in parts)
    (tmp_path / "guest").mkdir()
    programs.copy(parts, tmp_path / "guest")
    where = str(tmp_path / "guest")
    programs.write_script(tmp_path / "run", parts[0], parts, where, "--preload", f"{where}/libc.so.6")
    shutil.rmtree(tree)
    assert output([tmp_path / "run", "--version"], reporter=Silent()).startswith("true")
    line = f"{where}/ld-linux-x86-64.so.2 --library-path {where} --preload {where}/libc.so.6 {where}/true"
    assert line in (tmp_path / "run").read_text()


def test_a_library_of_this_machine_is_refused(tree, quiet):
    (tree / "usr/lib/x86_64-linux-gnu/libc.so.6").unlink()
    with pytest.raises(HostError, match=r"true: libc\.so\.6 is not in the packages"):
        workloads.parts(tree, tree / "usr/bin/true", quiet)


@pytest.mark.parametrize(("gone", "named"), [("true", "true"), ("ld-linux-x86-64.so.2", "the loader")])
def test_packages_that_lack_a_program_are_named(tree, quiet, gone, named):
    next(tree.rglob(gone)).unlink()
    with pytest.raises(HostError, match=f"{named}: not in the packages rt-tests, netperf"):
        workloads.parts(tree, tree / "usr/bin/true", quiet)


def test_other_packages_make_other_workloads(tmp_path):
    made = [workloads.WorkloadsRecipe(Packages(tmp_path, {"x_1_amd64.deb": sha})).inputs() for sha in ("1", "2", "1")]
    assert made[0] == made[2] != made[1]


def test_the_page_has_no_two_equal_lines():
    lines = workloads.page().splitlines()
    assert len(workloads.page()) == workloads.PAGE_SIZE
    assert len(set(lines)) == len(lines)
