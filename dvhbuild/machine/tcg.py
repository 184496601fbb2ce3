# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's TCG, which emulates SVM: a second substrate for the bench itself, on which kvm_amd counts the exits.

Its clock is the host's, so its figures say nothing; it cannot be saved. What it is for: a fault that shows here as well
is not the emulated Skylake's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen

from dvhbuild.errors import DvhError, GuestError, HostError
from dvhbuild.hub import Hub
from dvhbuild.lines import Line, socket_line
from dvhbuild.process import running
from dvhbuild.settings import Settings
from dvhbuild.stack import Level

APPEND = "console=ttyS0 dvh.name=l0"
UPLINK_DEVICES = {
    "virtio": ("-device", "virtio-serial-pci", "-device", "virtserialport,chardev=agent,name=dvh.agent"),
    "/dev/ttyS1": ("-serial", "chardev:agent"),
}
"""What the uplink is in the guest -> the devices for it. A serial line is slower, and works where MSIs do not."""
START_SECONDS = 20.0


@dataclass(frozen=True)
class TcgParts:
    """QEMU and the directory of its firmware, the kernel, the initrd, the files' disk if there is one.

    `uplink` is one of UPLINK_DEVICES; `environment` is QEMU's.
    """

    qemu: Path
    firmware: Path
    kernel: Path
    initrd: Path
    disk: Path | None = None
    uplink: str = "virtio"
    environment: Mapping[str, str] = field(default_factory=dict)


class TcgMachine:
    """A running QEMU; made by `start`."""

    def __init__(self, hub: Hub, process: Popen[bytes], directory: Path, lines: tuple[Line, Line]) -> None:
        self.hub = hub
        self.directory = directory
        self.console, self.uplink = lines
        self._process = process

    def save(self, directory: Path) -> None:
        raise HostError(f"{directory}: a machine on TCG cannot be saved")


def command(parts: TcgParts, level: Level, directory: Path) -> list[str | Path]:
    """The QEMU command line of L0; files that the stack names are in `directory`."""
    append, disk = f"{APPEND} dvh.uplink={parts.uplink}", []
    if parts.disk:
        append = f"{append} dvh.files=vda"
        disk = ["-drive", f"if=none,id=files,format=raw,readonly=on,file={parts.disk}"]
        disk += ["-device", "virtio-blk-pci,drive=files"]
    return [
        *(parts.qemu, "-L", parts.firmware, "-M", "q35", "-accel", "tcg,thread=multi"),
        *("-cpu", "max", "-smp", str(level.cpus), "-m", str(level.memory), "-nodefaults", "-no-user-config"),
        *("-display", "none", "-no-reboot", "-kernel", parts.kernel, "-initrd", parts.initrd),
        *("-append", f"{append} {level.append}".strip(), *level.qemu),
        *("-chardev", f"socket,id=log,path={directory / 'console'},server=on,wait=on", "-serial", "chardev:log"),
        *("-chardev", f"socket,id=agent,path={directory / 'uplink'},server=on,wait=on"),
        *(*UPLINK_DEVICES[parts.uplink], *disk, *level.devices),
    ]


@contextmanager
def start(parts: TcgParts, level: Level, directory: Path, settings: Settings) -> Iterator[TcgMachine]:
    """Boot a machine, for as long as the body runs; its files go to `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        hub = stack.enter_context(Hub(cancelled=settings.cancelled))
        out = stack.enter_context((directory / "qemu.out").open("wb"))
        argv = command(parts, level, directory)
        process = stack.enter_context(
            running(argv, reporter=settings.reporter, cwd=directory, env=parts.environment, stdout=out)
        )
        hub.check = lambda: _check(process, directory / "qemu.out")
        console = socket_line(hub, directory / "console", START_SECONDS, "console")
        stack.callback(console.close)
        uplink = socket_line(hub, directory / "uplink", START_SECONDS, "uplink")
        stack.callback(uplink.close)
        yield TcgMachine(hub, process, directory, (console, uplink))


def _check(process: Popen[bytes], log: Path) -> DvhError | None:
    status = process.poll()
    if status is None:
        return None
    tail = tuple(log.read_text(errors="replace").splitlines()[-20:])
    how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
    return GuestError(f"QEMU (TCG) {how}{f': {tail[-1]}' if tail else ''}", level=0, tail=tail, log=log)
