# SPDX-License-Identifier: GPL-2.0-or-later
"""Cells on as many machines as there are, by dask.distributed: workers of this process, or those of a scheduler.

A worker that is lost loses nothing: the scheduler gives its cell to another one.

dask.distributed takes longer to import than all the rest, and most commands don't need it: only who measures does that.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dvhbuild.build import Builder
from dvhbuild.cells import MEASURED, TRACES, Cell, CellRecipe, Measured, parse
from dvhbuild.errors import CancelledError, HostError, UserError
from dvhbuild.settings import Settings
from dvhbuild.steps import Reporter, Step
from dvhbuild.store import digest_inputs

if TYPE_CHECKING:
    from distributed import Client, LocalCluster, Worker

MACHINE_BYTES = 2 << 30

CONNECT_SECONDS = 10

_TOPIC = _BUILDER = "dvhbuild"


def machines() -> int:
    """How many emulated machines run at once on what we may use of this host: each takes a core, and 2 GiB."""
    from dask.system import CPU_COUNT
    from distributed.system import MEMORY_LIMIT

    return max(1, min(CPU_COUNT, MEMORY_LIMIT // MACHINE_BYTES))


@dataclass(frozen=True)
class _Order:
    """What a worker is to do, and the inputs that it must have for that."""

    cell: Cell
    fresh: bool
    again: bool
    inputs: Mapping[str, str]


@dataclass(frozen=True)
class _Brought:
    """What a worker has made of the recipe `name` with inputs `made_of`, on its way into our own store."""

    name: str
    made_of: Mapping[str, str]
    measured: str
    traces: bytes

    def inputs(self) -> Mapping[str, str]:
        return self.made_of

    def build(self, out: Path, settings: Settings) -> None:  # noqa: ARG002
        (out / MEASURED).write_text(self.measured)
        (out / TRACES).write_bytes(self.traces)


def measure(builder: Builder, recipes: Iterable[CellRecipe], *, again: bool, scheduler: str | None) -> list[Measured]:
    """Measure cells, by workers of `scheduler` if there is one; returns what came of each, in their order.

    With `again`, what workers have measured before is measured again. What those of `scheduler` bring is in our store
    as soon as it is there, so that it is known even if this ends early.

    Raises GuestError, VerdictError, HostError, the first there is; UserError if nobody is there to work.
    """
    from distributed import as_completed, wait

    recipes = list(recipes)
    orders = [_Order(recipe.cell, recipe.fresh, again, recipe.inputs()) for recipe in recipes]
    with _crew(builder, scheduler, len(orders)) as client:
        futures = [client.submit(_perform, order, key=f"cell-{digest_inputs(order.inputs)}") for order in orders]
        asked = {future.key: (recipe, order) for future, recipe, order in zip(futures, recipes, orders, strict=True)}
        brought: dict[object, tuple[str, bytes]] = {}
        try:
            for future in as_completed(futures):
                if error := future.exception():
                    raise _told(error)
                brought[future.key] = future.result()
                if scheduler:
                    recipe, order = asked[future.key]
                    builder.store.obtain(_Brought(recipe.name, order.inputs, *brought[future.key]), anew=again)
            return [parse(*brought[future.key]) for future in futures]
        finally:
            if not all(future.done() for future in futures):
                builder.settings.cancelled.set()
                if scheduler:
                    client.cancel(futures)  # what others have begun they finish
                else:
                    wait(futures)


def _told(error: BaseException) -> BaseException:
    from distributed import KilledWorker

    if isinstance(error, KilledWorker):
        return HostError(f"{error.allowed_failures + 1} workers were lost, one after the other, with the same cell")
    return error


@contextmanager
def _crew(builder: Builder, scheduler: str | None, cells: int) -> Iterator[Client]:
    """A client of `scheduler`, or of workers in this process, as `cells` need, which have our builder."""
    from distributed import Client

    if not scheduler:
        with _own_workers(min(machines(), cells)) as cluster, Client(cluster) as client:
            for worker in cluster.workers.values():
                worker.extensions[_BUILDER] = builder
            yield client
        return
    try:
        client = Client(scheduler, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise UserError(f"{scheduler}: no scheduler answers there", remedy="start one: dask scheduler") from error
    with client:
        try:
            client.wait_for_workers(1, timeout=CONNECT_SECONDS)
        except TimeoutError as error:
            message = f"{scheduler}: this scheduler has no workers"
            raise UserError(message, remedy=f"start some: dask worker {scheduler} --nthreads 1") from error
        client.subscribe_topic(_TOPIC, _Hearer(builder.settings.reporter).hear)
        yield client


def _own_workers(count: int) -> LocalCluster:
    """Workers without a profile, which nobody would read: it takes a look at all threads' frames every 10 ms."""
    import dask
    from distributed import LocalCluster

    with dask.config.set({"distributed.worker.profile.enabled": False}):
        return LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            processes=False,
            dashboard_address="127.0.0.1:0",
            memory_limit=0,
            silence_logs=logging.CRITICAL,
        )


def _perform(order: _Order) -> tuple[str, bytes]:
    """What a worker does: measure a cell, or take what came of it before; returns it as JSON, and its traces, packed.

    Raises HostError if its sources, patches or programs are not those of who asks.
    """
    from distributed import get_worker

    worker = get_worker()
    builder = worker.extensions.get(_BUILDER) or Builder(Settings.from_environment(_Teller(worker)))
    if builder.settings.cancelled.is_set():
        raise CancelledError("cancelled")
    recipe = CellRecipe(builder, order.cell, order.fresh)
    inputs = recipe.inputs()
    differing = [name for name in {**order.inputs, **inputs} if order.inputs.get(name) != inputs.get(name)]
    if differing:
        raise HostError(
            f"worker {worker.address}: it has another {', '.join(differing)} than is to be measured",
            remedy="let it have the same checkout, sources and settings",
        )
    path = builder.store.obtain(recipe, anew=order.again).path
    return (path / MEASURED).read_text(), (path / TRACES).read_bytes()


@dataclass(frozen=True)
class _Teller:
    """A worker's reporter: it tells the scheduler, and so whoever asked."""

    worker: Worker

    def started(self, step: Step) -> None:
        self._tell(step, "started")

    def advanced(self, step: Step, doing: str) -> None:
        self._tell(step, "advanced", doing)

    def stopped(self, step: Step, seconds: float, error: BaseException | None) -> None:
        self._tell(step, "stopped", seconds, None if error is None else repr(error))

    def command(self, argv: tuple[str, ...], cwd: Path | None) -> None: ...

    def remark(self, text: str) -> None: ...

    def _tell(self, step: Step, what: str, *more: object) -> None:
        log = str(step.log) if step.log else None
        number = f"{self.worker.address} {id(step)}"  # of those that go on there, no other step has this
        self.worker.log_event(_TOPIC, {"step": number, "what": what, "title": step.title, "log": log, "more": more})


@dataclass(frozen=True)
class _Hearer:
    """Passes on what workers tell: a reporter knows each step by the object that it is."""

    reporter: Reporter
    _steps: dict[str, Step] = field(default_factory=dict)

    def hear(self, event: tuple[float, Mapping[str, Any]]) -> None:
        _when, said = event
        number = said["step"]
        if said["what"] == "started":
            self._steps[number] = Step(said["title"], Path(said["log"]) if said["log"] else None)
        if number not in self._steps:
            return  # it began before we listened: it is another's
        match said["what"], *said["more"]:
            case "started", *_:
                self.reporter.started(self._steps[number])
            case "advanced", doing:
                self.reporter.advanced(self._steps[number], doing)
            case "stopped", seconds, error:
                self.reporter.stopped(self._steps.pop(number), seconds, HostError(error) if error else None)
