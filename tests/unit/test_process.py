# SPDX-License-Identifier: GPL-2.0-or-later
"""Processes: none outlives us, each failure names a line to paste."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dvhbuild import process
from dvhbuild.doctor import Need
from dvhbuild.errors import HostError
from dvhbuild.process import TIME, output, run, running
from dvhbuild.steps import Silent

QUIET = Silent()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def gone(pid: int, seconds: float = 3) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end and alive(pid):
        time.sleep(0.02)
    return not alive(pid)


def test_output_and_its_failure():
    assert output(["echo", "hello"], reporter=QUIET) == "hello"
    with pytest.raises(HostError, match=r"sh failed \(3\): oh no") as caught:
        output(["sh", "-c", "echo oh no >&2; exit 3"], reporter=QUIET)
    assert "sh -c 'echo oh no" in caught.value.remedy


def test_the_environment_of_the_user_is_not_that_of_what_we_start(monkeypatch):
    for name in ("CFLAGS", "KCFLAGS", "LOCALVERSION", "MAKEFLAGS", "PKG_CONFIG_PATH", "SOURCE_DATE_EPOCH", "TZ"):
        monkeypatch.setenv(name, "user's")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    said = output(["env"], reporter=QUIET)
    assert "user's" not in said
    assert {"LC_ALL=C.UTF-8", f"SOURCE_DATE_EPOCH={TIME}", "TZ=UTC0"} <= set(said.splitlines())


def test_run_logs_and_names_the_last_line(tmp_path):
    log = tmp_path / "log"
    run(["echo", "fine"], reporter=QUIET, log=log)
    assert log.read_text() == "$ echo fine\nfine\n"
    with pytest.raises(HostError, match=r"sh failed \(1\): bad") as caught:
        run(["sh", "-c", "echo bad; exit 1"], reporter=QUIET, log=log, cwd=tmp_path)
    assert caught.value.log == log
    assert f"cd {tmp_path} && sh -c" in caught.value.remedy


def test_run_has_a_limit(tmp_path):
    begin = time.monotonic()
    with pytest.raises(HostError, match="not done after 0 s"):
        run(["sleep", "60"], reporter=QUIET, log=tmp_path / "log", timeout=0.2)
    assert time.monotonic() - begin < 10


def test_a_missing_program_is_named():
    with pytest.raises(HostError, match="no-such-program: not found") as caught:
        output(["no-such-program"], reporter=QUIET)
    assert caught.value.remedy == "dvhbuild doctor --install"


def test_what_is_there_for_root_alone_is_found_by_anybody(monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert "ldconfig" in output(["ldconfig", "--version"], reporter=QUIET)
    assert Need("libc-bin", "ldconfig").met()
    assert ":/usr/sbin" in output(["sh", "-c", "echo $PATH"], reporter=QUIET)


def test_the_whole_group_ends_with_the_block(tmp_path):
    script = "trap '' TERM; sleep 60 & echo $! > child; wait"
    with running(["sh", "-c", script], reporter=QUIET, cwd=tmp_path) as process:
        child = tmp_path / "child"
        while not (child.exists() and child.read_text()):
            time.sleep(0.02)
        pid = int(child.read_text())
        assert alive(pid)
    assert process.poll() is not None
    assert gone(pid)


@pytest.mark.parametrize("words", [["sleep", "60"], ["make", "-s"]])
def test_a_process_dies_with_us_even_when_we_are_killed(tmp_path, words):
    (tmp_path / "Makefile").write_text("all:\n\t@$(MAKE) sub\nsub:\n\t@echo $$$$ > child; sleep 60; true\n")
    ours = (
        "import time; from dvhbuild.process import running; from dvhbuild.steps import Silent\n"
        f"with running({words}, reporter=Silent()) as p: print(p.pid, flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", ours], stdout=subprocess.PIPE, cwd=tmp_path) as parent:
        pids = [int(parent.stdout.readline())]
        while Path(f"/proc/{pids[0]}/comm").read_text().strip() != words[0]:
            time.sleep(0.02)  # setpriv has not done its part
        if words[0] == "make":
            child = tmp_path / "child"
            while not (child.exists() and child.read_text().endswith("\n")):
                time.sleep(0.02)
            pids.append(int(child.read_text()))
        os.kill(parent.pid, signal.SIGKILL)
    assert all(gone(pid, 10) for pid in pids)


def test_a_full_disk_is_told_apart_from_a_failed_command(tmp_path, monkeypatch):
    monkeypatch.setattr(process, "FULL", 1 << 60)
    with pytest.raises(HostError, match=r"false failed \(1\): the disk of .* is full") as caught:
        run(["false"], reporter=QUIET, log=tmp_path / "log")
    assert "DVHBUILD_CACHE" in caught.value.remedy
