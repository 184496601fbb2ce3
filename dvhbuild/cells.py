# SPDX-License-Identifier: GPL-2.0-or-later
"""The cells of a measurement, each of which takes one machine: one that was measured before is not measured again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from dvhbuild.build import Builder
from dvhbuild.errors import GuestError
from dvhbuild.experiments.model import Experiment, Guest
from dvhbuild.lab import StateRecipe, bring_up, run_directory
from dvhbuild.measure import measure
from dvhbuild.nest import Nest
from dvhbuild.result import Idle, Row, Task, Workload
from dvhbuild.settings import ROOT, Settings
from dvhbuild.stack import Stack
from dvhbuild.store import Entry, digest_files, digest_text
from dvhbuild.traces import Traced, pack
from dvhbuild.watch import watch
from dvhbuild.workloads import perform

MEASURED = "measured.json"
TRACES = "traces.zip"

_MODULES = (
    *("cells.py", "measure.py", "window.py", "counters.py", "trace", "probe.py", "load.py", "experiments", "result.py"),
    *("watch.py", "idle.py", "fairness.py", "traces.py", "work.py", "workloads.py"),
)
"""What of this package a measurement depends on, besides what its machine does (`lab`)."""


@dataclass(frozen=True)
class Cell:
    """A guest at `level` of `stack`, which is configured, and what it performs, `ops` times each operation.

    Each experiment comes with the name of the configuration that its rows are in.
    """

    stack: Stack
    level: int
    guest: Guest
    experiments: tuple[tuple[Experiment, str], ...]
    ops: int

    @property
    def base(self) -> int:
        """The highest level that has to be there: a Linux itself, or the hypervisor that starts the probe."""
        return self.level if self.guest == "linux" else self.level - 1


class Measured(BaseModel):
    """What came of a cell, and when; `traces` are those of its rows, packed, in a file of their own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    date: AwareDatetime
    rows: tuple[Row, ...] = ()
    idle: tuple[Idle, ...] = ()
    tasks: tuple[Task, ...] = ()
    workloads: tuple[Workload, ...] = ()
    traces: bytes = Field(default=b"", exclude=True)


@dataclass(frozen=True)
class CellRecipe:
    """How a cell is measured; with `fresh`, its levels are booted even if there is a saved state."""

    builder: Builder
    cell: Cell
    fresh: bool = False

    @property
    def name(self) -> str:
        return "cell"

    def inputs(self) -> Mapping[str, str]:
        """All that its figures depend on, wherever it is measured."""
        machine = dict(StateRecipe(self.builder, self.cell.stack, self.cell.base, self._disk).inputs())
        del machine["place"]
        performed = (f"{experiment.name}={config}" for experiment, config in self.cell.experiments)
        return {
            **machine,
            "stack": digest_text(self.cell.stack.essence(self.cell.level)),
            "guest": self.cell.guest,
            "level": str(self.cell.level),
            "experiments": " ".join(performed),
            "ops": str(self.cell.ops),
            "measurement": digest_files(*(ROOT / "dvhbuild" / name for name in _MODULES)),
        }

    @property
    def _disk(self) -> Entry | None:
        """The guests' files, if they are others than everyone's."""
        packages = any(experiment.packages for experiment, _ in self.cell.experiments)
        return self.builder.of(self.cell.stack).workloads_disk if packages else None

    def build(self, out: Path, settings: Settings) -> None:
        """Make `out`/measured.json and `out`/traces.zip.

        Raises GuestError, VerdictError, HostError: there is no partial result.
        """
        cell = self.cell
        directory = run_directory(settings, f"measure-l{cell.level}-{cell.guest}")
        date = datetime.now(UTC)
        traces: list[Traced] = []
        with bring_up(self.builder, cell.stack, cell.base, directory, fresh=self.fresh, disk=self._disk) as nest:
            check_nested(nest, cell.level)
            (first, config), *_ = cell.experiments
            if first.packages:
                measured = Measured(date=date, workloads=tuple(perform(nest, cell.level, config)))
            elif first.watched:
                parts = tuple(watch(nest, cell.level, config))
                idle = tuple(part for part in parts if isinstance(part, Idle))
                tasks = tuple(part for part in parts if isinstance(part, Task))
                measured = Measured(date=date, idle=idle, tasks=tasks)
            else:
                rows = tuple(measure(nest, cell.level, cell.experiments, cell.ops, cell.guest, traces.append))
                measured = Measured(date=date, rows=rows)
        (out / MEASURED).write_text(measured.model_dump_json())
        (out / TRACES).write_bytes(pack(traces))


def read(directory: Path) -> Measured:
    """What came of a cell, from the directory of its result."""
    return parse((directory / MEASURED).read_text(), (directory / TRACES).read_bytes())


def parse(text: str, traces: bytes) -> Measured:
    """What the two files say."""
    return Measured.model_validate_json(text).model_copy(update={"traces": traces})


def check_nested(nest: Nest, levels: int) -> None:
    """Raise GuestError if the KVM of one of the lowest `levels` cannot run guests."""
    for linux in nest.levels[:levels]:
        if linux.agent.run("test -c /dev/kvm").status:
            raise GuestError(
                f"L{linux.number} has no /dev/kvm: its processor offers no virtualization",
                level=linux.number,
                tail=tuple(linux.agent.run("dmesg | grep -i kvm").text.splitlines()),
                remedy="give the level below a CPU model with vmx (-cpu host), and kvm_intel nested=1",
                log=linux.log.path,
            )
