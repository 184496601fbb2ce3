# SPDX-License-Identifier: GPL-2.0-or-later
"""The QEMU command lines by which a Linux level starts the level above it: pure data, started by `nest`."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from dvhbuild.stack import Level

QEMU = "/dvh/qemu-system-x86_64"
READ = f"cat {QEMU} > /dev/null"
"""What spares the next level a third of its start: each page of QEMU is an exit to the level below, or two."""

_DISK = "DISK"
_FIND_DISK = """while read device place rest; do [ $place = /dvh ] && disk=$device; done < /proc/mounts"""
"""The disk of guest files is handed on from level to level."""


@dataclass(frozen=True)
class Sockets:
    """The unix sockets and the pid file, at the level below, of the guest that is level `number`."""

    number: int

    @property
    def log(self) -> str:
        return f"/run/l{self.number}.log"

    @property
    def agent(self) -> str:
        return f"/run/l{self.number}.agent"

    @property
    def pid(self) -> str:
        return f"/run/l{self.number}.pid"


def _common(number: int, level: Level) -> list[str]:
    """A guest without a screen, without devices but those that we name, that ends when it resets.

    qboot brings it up in a fraction of SeaBIOS's time, which nesting makes seconds.
    """
    sockets = Sockets(number)
    return [
        *(QEMU, "-L", "/dvh/firmware", "-name", f"l{number},debug-threads=on", "-M", "q35", "-accel", "kvm"),
        *("-bios", "qboot.rom", "-smp", str(level.cpus), "-nodefaults", "-no-user-config"),
        *("-display", "none", "-no-reboot"),
        *("-pidfile", sockets.pid),
        *("-chardev", f"socket,id=log,path={sockets.log},server=on,wait=on"),
        *level.qemu,
        *level.devices,
    ]


def linux_append(number: int, level: Level) -> str:
    """The kernel parameters of level `number` as a Linux of our own."""
    return f"console=ttyS0 dvh.uplink=virtio dvh.files=vda dvh.name=l{number} panic=-1 {level.append}".strip()


def linux(number: int, level: Level) -> str:
    """The shell command that starts level `number` as a Linux of our own, with an agent and the files' disk."""
    sockets = Sockets(number)
    words = [
        *_common(number, level),
        *("-m", str(level.memory), "-kernel", "/dvh/bzImage", "-initrd", "/dvh/initrd.cpio", "-serial", "chardev:log"),
        *("-append", linux_append(number, level)),
        *("-device", "virtio-serial-pci", "-device", "virtserialport,chardev=agent,name=dvh.agent"),
        *("-chardev", f"socket,id=agent,path={sockets.agent},server=on,wait=on"),
        *("-drive", f"if=none,id=files,format=raw,readonly=on,file={_DISK}"),
        *("-device", "virtio-blk-pci,drive=files"),
    ]
    return f"{_FIND_DISK}; exec {shlex.join(words).replace(_DISK, '$disk')}"


def probe(number: int, level: Level) -> str:
    """The shell command that starts the probe as level `number`, with the devices that it uses.

    Its console takes a line for an exit, where a serial port takes a character. It is served by the vCPU that asks,
    in a slot where no stack has anything else.
    """
    words = [
        *_common(number, level),
        *("-m", "64", "-kernel", "/dvh/probe"),
        *("-device", "virtio-serial-pci,addr=0x1d,disable-legacy=on,max_ports=1,ioeventfd=off"),
        *("-device", "virtconsole,chardev=log"),
        *("-device", "pci-testdev", "-device", "edu", "-device", "isa-debug-exit,iobase=0x501,iosize=4"),
    ]
    return f"exec {shlex.join(words)}"


def pin(number: int, cpus: int) -> str:
    """The shell command that binds vCPU n of guest `number` to CPU n, its disks' threads to the last one of `cpus`.

    A figure then does not depend on chance.
    """
    return f"""
        pid=$(cat {Sockets(number).pid})
        for task in /proc/$pid/task/*; do
            read name < $task/comm
            case "$name" in
            "CPU "*/KVM) cpu=${{name#CPU }}; cpu=${{cpu%/KVM}}; taskset -p $((1 << cpu)) ${{task##*/}} ;;
            "IO "*) taskset -p $((1 << {cpus - 1})) ${{task##*/}} ;;
            esac
        done"""
