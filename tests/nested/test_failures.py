# SPDX-License-Identifier: GPL-2.0-or-later
"""Each way in which a machine or a guest can fail ends in one error that says which, and leaves no process."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from procs import descendants

from dvhbuild import cells, probe
from dvhbuild.errors import GuestError
from dvhbuild.lab import bring_up
from dvhbuild.machine import bochs

pytestmark = pytest.mark.nested


@pytest.fixture(autouse=True)
def _nothing_is_left(ours):
    yield
    assert ours() == []


@pytest.mark.parametrize("level", [0, 1])
def test_a_panic_is_told_with_its_level_and_last_lines(builder, stack, tmp_path, level):
    begin = time.monotonic()
    with pytest.raises(GuestError, match=rf"L{level}: the kernel panicked: Kernel panic - not syncing") as caught:
        with bring_up(builder, stack, level, tmp_path) as nest:
            nest.top.agent.run("echo c > /proc/sysrq-trigger")
    assert caught.value.level == level
    assert any("Kernel panic" in line for line in caught.value.tail)
    assert caught.value.log.name == f"l{level}.log"
    assert time.monotonic() - begin < 60


def test_an_l1_without_virtualization_is_told(builder, stack, tmp_path):
    level1 = stack.levels[1].model_copy(update={"qemu": ("-cpu", "host,-vmx")})
    crippled = stack.model_copy(update={"levels": (stack.levels[0], level1, stack.levels[2])})
    with bring_up(builder, crippled, 0, tmp_path) as nest:
        nest.boot(1)
        with pytest.raises(GuestError, match="L1 has no /dev/kvm") as caught:
            cells.check_nested(nest, 2)
    assert "-cpu host" in caught.value.remedy


def test_a_killed_emulator_is_told(builder, stack, tmp_path, ours):
    with pytest.raises(GuestError, match="the emulator was killed by signal 9"):
        with bring_up(builder, stack, 1, tmp_path) as nest:
            for pid in ours():
                os.kill(pid, signal.SIGKILL)
            nest.top.agent.run("sleep 100")


def test_a_guest_that_hangs_is_told_by_its_silence(builder, stack, tmp_path, monkeypatch):
    monkeypatch.setattr(bochs, "SILENCE", 5.0)
    with pytest.raises(GuestError, match="the guests hang: not a byte in 5 s"):
        with bring_up(builder, stack, 0, tmp_path) as nest:
            nest.top.agent.run("while :; do :; done", timeout=120)


def test_a_machine_with_nothing_to_boot_is_told(builder, stack, tmp_path):
    parts = bochs.BochsParts(builder.artifacts.bochs.path, tmp_path / "empty.iso", tmp_path / "empty.img")
    for path in (parts.cd, parts.disk):
        path.write_bytes(bytes(1 << 20))
    with bochs.start(parts, stack.levels[0], tmp_path / "run", builder.settings) as machine:
        with pytest.raises(GuestError, match="(?i)no bootable device|boot failed"):
            machine.hub.wait(lambda: None, 60, "a boot", level=0)


@pytest.mark.parametrize(
    ("operation", "fault", "says"),
    [
        ("ipi-self", "surplus", "FAIL op=ipi-self"),
        ("ipi-send", "vector", "wrong: expected vector"),
        ("halt-wake-ipi", "early", "TSCs out of step"),
        ("halt-wake-timer", "early", "early: deadline"),
        ("halt-wake-device", "vector", "wrong: expected vector"),
    ],
)
def test_a_probe_whose_check_fails_is_told(builder, stack, tmp_path, operation, fault, says):
    with bring_up(builder, stack, 0, tmp_path) as nest, probe.start(nest, 1) as session:
        with pytest.raises(GuestError, match=says):
            session.run(operation, 20, f"fault={fault}")


def test_a_qemu_that_does_not_start_is_told(builder, stack, tmp_path):
    level1 = stack.levels[1].model_copy(update={"qemu": ("-cpu", "no-such-model")})
    crippled = stack.model_copy(update={"levels": (stack.levels[0], level1, stack.levels[2])})
    with bring_up(builder, crippled, 0, tmp_path) as nest:
        with pytest.raises(GuestError, match="L1: its QEMU exited with status 1: .*no-such-model"):
            nest.boot(1)


@pytest.mark.parametrize("moment", ["restore the machine", "measure exits at L1"])
def test_an_interrupted_run_leaves_no_process_and_no_result(builder, tmp_path, moment):
    builder.artifacts  # noqa: B018 - built before, so that what is interrupted is the run
    file = tmp_path / "result.json"
    command = [sys.executable, "-m", "dvhbuild", "verify", "exits", "--stack", "base-2cpu", "--again", "--json", file]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as run:
        for line in run.stderr:
            if line.startswith(moment):
                break
        emulators = descendants(run.pid)
        assert emulators
        run.send_signal(signal.SIGINT)
        said = run.communicate(timeout=30)[1]
    assert run.returncode == 130
    assert said.splitlines()[-1] == "dvhbuild: interrupted"
    assert not any(Path(f"/proc/{pid}").exists() for pid in emulators)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [("kvm.no_such", "1", "its kernel has no such parameter"), ("kvm.halt_poll_ns", "many", "Invalid argument")],
)
def test_a_parameter_that_a_kernel_does_not_take_is_told(builder, stack, tmp_path, name, value, why):
    level1 = stack.levels[1].model_copy(update={"parameters": {name: value}})
    changed = stack.model_copy(update={"levels": (stack.levels[0], level1, stack.levels[2])})
    with bring_up(builder, changed, 0, tmp_path) as nest:
        with pytest.raises(GuestError, match=f"L1: cannot set {name} to {value}: .*{why}"):
            nest.boot(1)
