# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest on QEMU's TCG whose every MSI is posted by our IOMMU: `posted-msi.sh` loads it and looks for what is lost."""

from __future__ import annotations

import hashlib
import random
import time
from pathlib import Path

from dvhbuild.build import Builder
from dvhbuild.errors import GuestError
from dvhbuild.ksft import Kind, Verdict
from dvhbuild.machine import tcg
from dvhbuild.machine.tcg import TcgParts
from dvhbuild.nest import Nest
from dvhbuild.qtests import SANITIZERS
from dvhbuild.recipes.qtests import BINARY, FIRMWARE
from dvhbuild.selftests import Outcome, Plan
from dvhbuild.settings import Settings
from dvhbuild.stack import load_stack
from dvhbuild.trial import run_test

NAME = "posted-msi"
KERNEL = "linux-posted-msi"
SCRIPT = Path(__file__).with_name(f"{NAME}.sh")

PLACE = "/run"
"""Where the guest has the script, and the sum of the data that its disks hold."""
DISKS = ("disk0", "disk1")
DISK_BYTES = 16 << 20


def parts(builder: Builder, built: Path) -> TcgParts:
    """The QEMU that is in `built`, and the guest's kernel and initrd, which are built if need be."""
    kernel = builder.store.obtain(builder.kernel(KERNEL)).path / "bzImage"
    initrd = builder.initrd.path / "initrd.cpio"
    return TcgParts(built / BINARY, built / FIRMWARE, kernel, initrd, uplink="/dev/ttyS1", environment=SANITIZERS)


def run(parts: TcgParts, plan: Plan, directory: Path, settings: Settings) -> Outcome:
    """Boot the guest and run the test in it; files and logs go to `directory`."""
    place = directory / NAME
    place.mkdir()
    data = random.Random(NAME).randbytes(DISK_BYTES)  # noqa: S311 - to be recognized, not to be secret
    for disk in DISKS:
        (place / disk).write_bytes(data)
    begin = time.monotonic()
    try:
        stack = load_stack(NAME)
        with tcg.start(parts, stack.levels[0], place, settings) as machine:
            nest = Nest(machine, stack, settings)
            nest.boot(0)
            agent = nest.top.agent
            agent.check(f"echo {hashlib.sha256(data).hexdigest()} > {PLACE}/sum")
            agent.check(f"cat > {PLACE}/{NAME} && chmod +x {PLACE}/{NAME}", stdin=SCRIPT.read_bytes())
            return run_test(nest, NAME, plan, directory, PLACE)[0]
    except GuestError as error:  # before the test
        verdict, seconds = Verdict(Kind.FAILED, error.message), time.monotonic() - begin
        return Outcome(NAME, verdict, good=False, seconds=seconds, tail=error.tail, log=error.log or place)
