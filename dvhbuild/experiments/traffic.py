# SPDX-License-Identifier: GPL-2.0-or-later
"""What Linux does with its devices: exchanges with L0 over both networks, and reads of the disk; all is checked.

`linux-ping` is a ping, `linux-echo` a byte by TCP and its echo (netperf's TCP_RR); `linux-stream` and `linux-maerts`
are 16 KiB by TCP to L0 and from it. Each goes over the device that QEMU serves, and (`-vhost`) over the one that the
kernel does. `linux-read` is 4 KiB of the disk.
"""

from dvhbuild.experiments.model import INTERRUPTED, Experiment, Operation
from dvhbuild.trace import Own

_ALL = frozenset({"*", "L1"}) | INTERRUPTED
_OWN = Own(actor=_ALL, others=_ALL)
"""An interrupt and what follows from it may come on any CPU: a tick cannot be told from these."""

_NETWORKS = {"": "10.0.0.1", "-vhost": "10.0.1.1"}
"""L0's addresses: qemu-configs/stacks/virtio.toml."""

EXPERIMENT = Experiment(
    "traffic",
    (
        *(
            Operation(f"linux-{exchange}{network}", _OWN, (address,), guest="linux")
            for exchange in ("ping", "echo", "stream", "maerts")
            for network, address in _NETWORKS.items()
        ),
        Operation("linux-read", _OWN, ("/dev/vdb", "/dvh/qemu-system-x86_64"), guest="linux"),
    ),
    dvh=True,
)
