# SPDX-License-Identifier: GPL-2.0-or-later
"""What iperf3 needs to run in a guest is found by what ldd says."""

from pathlib import Path

import pytest

from dvhbuild.errors import HostError
from dvhbuild.recipes import iperf

SAID = """\
	linux-vdso.so.1 (0x00007fff34ffd000)
	libiperf.so.0 => /usr/lib/x86_64-linux-gnu/libiperf.so.0 (0x00007f4c3b5d3000)
	libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f4c3b3f2000)
	/lib64/ld-linux-x86-64.so.2 (0x00007f4c3b629000)
"""


def test_libraries_and_the_loader_are_found():
    libraries = ("/usr/lib/x86_64-linux-gnu/libiperf.so.0", "/lib/x86_64-linux-gnu/libc.so.6")
    loaded = ("/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/libgcc_s.so.1")
    assert iperf.libraries(SAID) == (*map(Path, libraries), *map(Path, loaded))


def test_a_library_that_is_missing_is_told():
    with pytest.raises(HostError, match=r"iperf3: libsctp\.so\.1 => not found"):
        iperf.libraries("\tlibsctp.so.1 => not found\n" + SAID)


def test_a_machine_without_it_is_told_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr(iperf, "PROGRAM", tmp_path / "iperf3")
    with pytest.raises(HostError, match="iperf3: not installed") as caught:
        iperf.parts()
    assert caught.value.remedy == "dvhbuild doctor --install"
