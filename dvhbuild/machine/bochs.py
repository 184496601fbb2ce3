# SPDX-License-Identifier: GPL-2.0-or-later
"""The emulated Skylake: how Bochs is told what to be, how it is saved and restored.

RDTSC counts its instructions, so what is measured on it repeats, whatever else the host does.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

from dvhbuild.errors import DvhError, GuestError, HostError
from dvhbuild.hub import Hub
from dvhbuild.lines import PtyLine
from dvhbuild.process import running
from dvhbuild.settings import Settings
from dvhbuild.stack import Level

APPEND = "console=ttyS0,115200 dvh.uplink=/dev/ttyS1 dvh.files=sda dvh.name=l0"
"""L0's kernel parameters on this machine: com1 is its log, com2 the uplink."""

IPS = 100_000_000
"""Instructions in a second of the emulated devices' time; at this figure a serial line costs the guest little."""

MSRS = """\
0x8b 0 02000065 00000000 00000000 00000000 ffffffff ffffffff
0x1d9 0 00000000 00000000 00000000 00000000 ffffffff ffffffff
"""
"""A microcode revision (IA32_BIOS_SIGN_ID), without which Linux takes the processor for one with the TSC-deadline
erratum, and IA32_DEBUGCTL, which KVM reads at each entry; writes are ignored. The columns are Bochs's: MSR, type, reset
value, reserved and ignored bits."""

BLOCK_KIB = 1024
"""Bochs keeps guest memory in blocks of this size; many small ones cost seconds at each start, save and restore."""

IDLE_SLEEP = 600
"""Seconds of the devices' time, some 17 of the guests', after which a machine that only waits for us is throttled."""

SAVE_SECONDS = 120.0

SILENCE = 120.0
"""Seconds of the emulator's own CPU time, some 10 G instructions, without a byte on any line, after which the guests
count as hung while somebody waits for them. An idle machine uses no CPU time: the waiting's own limit ends it."""

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class BochsParts:
    """What a Bochs machine is made of: the directory of the emulator and its BIOS, L0's boot CD, the files' disk.

    `more` is a further disk. As long as L0 has not read it, it may hold something else in a machine that is restored
    than in the one that was saved; but size and time of modification have to be the same.
    """

    bochs: Path
    cd: Path
    disk: Path
    more: Path | None = None


def options(parts: BochsParts, level: Level, serial: Sequence[Path], directory: Path) -> tuple[str, ...]:
    """The bochsrc of a machine with the CPUs and memory of `level` and the lines `serial` (com1 first), a line each."""
    cpu = "model=corei7_skylake_x, reset_on_triple_fault=0, ignore_bad_msrs=1"
    disks = {"disk": ("ata0-master", parts.disk), "more": ("ata0-slave", parts.more)}
    return (
        "display_library: nogui",
        f"memory: guest={level.memory}, host={level.memory}, block_size={BLOCK_KIB}",
        f"romimage: file={parts.bochs / 'bios.bin'}",
        f"vgaromimage: file={parts.bochs / 'vgabios.bin'}",
        f"cpu: {cpu}, count={level.cpus}, ips={IPS}, msrs={directory / 'msrs.def'}",
        "ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14",
        "ata1: enabled=1, ioaddr1=0x170, ioaddr2=0x370, irq=15",
        *(
            f"{place}: type=disk, path={path}, mode=volatile, journal={directory / name}.redolog"
            for name, (place, path) in disks.items()
            if path
        ),
        f"ata1-master: type=cdrom, path={parts.cd}, status=inserted",
        "boot: cdrom",
        "pci: enabled=1, chipset=i440fx",
        f"clock: sync=none, time0=946684800, idle_sleep={IDLE_SLEEP}",
        *(f"com{number}: enabled=1, mode=term, dev={path}" for number, path in enumerate(serial, 1)),
        f"log: {directory / 'bochs.log'}",
        "panic: action=fatal",
        "error: action=report, CPU0=ignore, CPU1=ignore",
        "info: action=ignore",
    )


class BochsMachine:
    """A running Bochs; made by `start`."""

    def __init__(self, hub: Hub, process: Popen[bytes], lines: Sequence[PtyLine], directory: Path) -> None:
        self.hub = hub
        self.console, self.uplink = lines
        self.directory = directory
        self._process = process
        self._lines = tuple(lines)
        self._heard = (0, 0.0)
        hub.check = self._check

    def save(self, directory: Path) -> None:
        """Save the state, which Bochs does between two rounds of its processors; the machine goes on afterwards.

        Raises HostError if Bochs could not (a full disk), or what has failed in the meantime.
        """
        state = self.directory / "state"
        failed = self.directory / "state.failed"
        self._process.send_signal(signal.SIGUSR1)

        def saved() -> bool | None:
            if failed.exists():
                raise HostError(f"the machine's state could not be saved: {failed.read_text().strip()}")
            return state.exists() or None

        self.hub.wait(saved, SAVE_SECONDS, "saving the machine's state", level=0)
        shutil.move(state, directory)

    def _check(self) -> DvhError | None:
        """The emulator's own death, and what it said last."""
        status = self._process.poll()
        if status is None:
            return self._silence()
        log = self.directory / "bochs.log"
        said = log.read_text(errors="replace").splitlines() if log.exists() else []
        tail = tuple(line for line in said if line.strip())[-20:]
        panics = [line for line in said if ">>PANIC<<" in line]
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        why = f": {panics[-1].partition('>>PANIC<<')[2].strip()}" if panics else ""
        return GuestError(f"the emulator {how}{why}", level=0, tail=tail, log=log)

    def _silence(self) -> DvhError | None:
        """Whether the guests compute and compute and say nothing."""
        received = sum(line.received for line in self._lines)
        used = _cpu_seconds(self._process.pid)
        if received != self._heard[0]:
            self._heard = (received, used)
        silent = used - self._heard[1]
        if silent < SILENCE:
            return None
        message = f"the guests hang: not a byte in {silent:.0f} s of the emulator's CPU time"
        return GuestError(message, level=0, log=self.directory)


def _cpu_seconds(pid: int) -> float:
    """User and system time of process `pid` (proc(5), stat, fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


@contextmanager
def start(
    parts: BochsParts, level: Level, directory: Path, settings: Settings, state: Path | None = None
) -> Iterator[BochsMachine]:
    """Boot a machine, or take up the saved `state`, for as long as the body runs; its files go to `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "msrs.def").write_text(MSRS)
    with ExitStack() as stack:
        hub = stack.enter_context(Hub(cancelled=settings.cancelled))
        lines = [PtyLine(hub, name) for name in ("console", "uplink")]
        for line in lines:
            stack.callback(line.close)
        wanted = options(parts, level, [line.path for line in lines], directory)
        bochs: list[str | Path] = [parts.bochs / "bochs", "-q", "-save", directory / "state"]
        if state is None:
            (directory / "bochsrc").write_text("".join(f"{option}\n" for option in wanted))
            bochs += ["-f", directory / "bochsrc"]
        else:
            bochs += ["-r", state, *wanted]
        out = stack.enter_context((directory / "bochs.out").open("wb"))
        process = stack.enter_context(running(bochs, reporter=settings.reporter, cwd=directory, stdout=out))
        yield BochsMachine(hub, process, lines, directory)
