# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line's part for iterating on a patch: watches a checkout, and shows what each save of a file came to."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue

import click
from rich.console import Console

from dvhbuild import iterate as iterating
from dvhbuild.cli_verify import TABLE_WIDTH, show_rows
from dvhbuild.compare import compare_rows
from dvhbuild.errors import CancelledError, DvhError, GuestError, HostError, UserError
from dvhbuild.experiments import choose
from dvhbuild.iterate import Plan
from dvhbuild.options import config_option, pass_settings, stack_option
from dvhbuild.repository import CHECKOUT
from dvhbuild.result import Row
from dvhbuild.settings import Settings
from dvhbuild.stack import load_stack
from dvhbuild.tables import rows_table
from dvhbuild.terminal import explain

OPS = 200
"""Operations of each kind: enough for a median, and done in a second or two."""

PATHS = 3
"""How many changed files are named."""

_QUIET_MS = 50
"""A save is over when nothing was written for so long: editors write, rename, and set times."""

_POLL_MS = 500


@click.command()
@click.argument("experiments", nargs=-1)
@click.option("--ops", type=click.IntRange(1, 20000), default=OPS, show_default=True, help="Operations of each kind.")
@stack_option("base-2cpu")
@config_option
@pass_settings
def iterate(
    settings: Settings, experiments: tuple[str, ...], ops: int, stack_name: str, configs: tuple[str, ...]
) -> None:
    """Watch a checkout of Linux; each time a file is saved, build, measure EXPERIMENTS, and show what is different.

    The checkout is the one that DVHBUILD_LINUX names. EXPERIMENTS are those of `verify` that the probe performs. They
    are measured at the highest level alone, in each configuration of the stack that has our patches. Ctrl-C ends.
    """
    tree = _checkout(settings)
    stack = load_stack(stack_name).narrowed(configs)
    plan = iterating.plan(stack, choose(experiments, stack), ops)
    iterating.prepare(settings)
    with _watched(tree) as saves:
        session = _Session(settings, plan, saves)
        saved = time.monotonic()
        while True:
            session.look(saved)
            click.echo(f"watching {tree}; Ctrl-C ends")
            saved = saves.get()


def _checkout(settings: Settings) -> Path:
    tree = settings.own.get("linux")
    if not tree:
        raise UserError(
            "DVHBUILD_LINUX is not set: there is no tree to watch",
            remedy="dvhbuild series checkout linux DIR; then DVHBUILD_LINUX=DIR dvhbuild iterate ...",
        )
    if not (tree / ".git" / CHECKOUT).is_file():
        raise UserError(f"{tree}: not a checkout of ours", remedy="dvhbuild series checkout linux DIR makes one")
    return tree


Saves = SimpleQueue[float]
"""When files were saved, on the monotonic clock."""


@contextmanager
def _watched(tree: Path) -> Iterator[Saves]:
    """What is saved below `tree` while the body runs; raises OSError if there is too much of it to be watched."""
    from watchfiles import watch

    saves: Saves = SimpleQueue()
    stop = threading.Event()
    changes = watch(
        tree, step=_QUIET_MS, rust_timeout=_POLL_MS, yield_on_timeout=True, stop_event=stop, raise_interrupt=False
    )
    next(changes)  # it watches now

    def listen() -> None:
        for change in changes:
            if change:
                saves.put(time.monotonic())

    thread = threading.Thread(target=listen)
    thread.start()
    try:
        yield saves
    finally:
        stop.set()
        thread.join()


@dataclass
class _Session:
    """What has been seen of a tree: the state that was built last; what was measured first, last, and of what."""

    settings: Settings
    plan: Plan
    saves: Saves
    _seen: str = ""
    _built: str = ""
    _first: tuple[Row, ...] = ()
    _last: tuple[Row, ...] = ()
    _measured: dict[str, tuple[Row, ...]] = field(default_factory=dict)

    def look(self, saved: float) -> None:
        """See whether the tree, in which something was `saved` at that time, is another one, and what that comes to.

        What goes wrong is shown: the next save may mend it.
        """
        try:
            self._look(saved)
        except CancelledError as error:
            click.echo(error.message)
        except DvhError as error:
            if isinstance(error, GuestError):
                self._seen = self._built = ""  # if it was bad luck, a save of the same is another chance
            if isinstance(error, HostError) and error.log:
                for line in iterating.complaints(error.log):
                    click.echo(line)
            explain(error, Console(stderr=True))

    def _look(self, saved: float) -> None:
        builder = iterating.builder(self.settings)
        tree = builder.applied("linux").tree
        if tree == self._seen:
            return
        self._seen = tree
        if self._built:
            paths = iterating.changed(builder, self._built, tree)
            scope, why = iterating.scope(paths)
            click.echo(f"\n{_names(paths)}: {_SAYS[scope].format(why)}")
            if scope == "nothing":
                return
        built = iterating.build(builder)
        self._built = tree
        for line in built.warnings:
            click.echo(line)
        done = time.monotonic()
        known = self._measured.get(built.digest)
        rows = known or iterating.perform(builder, self.plan, self._is_old)
        self._measured[built.digest] = rows
        now = time.monotonic()
        since = f"{now - saved:.1f} s from save to verdict: " if self._first else ""
        self._show(rows)
        how = "measured before" if known else f"measured in {now - done:.1f} s"
        click.echo(f"{since}built in {done - saved:.1f} s, {how}")

    def _is_old(self) -> bool:
        """Whether the tree is another one by now: what is being measured is of no use then."""
        try:
            saved = self.saves.get_nowait()
        except Empty:
            return False
        if iterating.tree(self.settings) == self._seen:
            return False
        self.saves.put(saved)
        return True

    def _show(self, rows: tuple[Row, ...]) -> None:
        console = Console()
        console.width = max(console.width, TABLE_WIDTH)
        if not self._first:
            console.print(rows_table(rows))
            self._first = self._last = rows
            return
        click.echo("compared with the start:")
        show_rows(compare_rows(self._first, rows), self._first, rows, console)
        if self._last is not self._first:
            click.echo("compared with the save before:")
            show_rows(compare_rows(self._last, rows), self._last, rows, console)
        self._last = rows


_SAYS = {
    "nothing": "nothing is built of it",
    "modules": "KVM's modules are built",
    "kernel": "the kernel is built, not only KVM's modules, as it may depend on {}: this takes longer",
}


def _names(paths: tuple[str, ...]) -> str:
    more = f" and {len(paths) - PATHS} more" if len(paths) > PATHS else ""
    return ", ".join(paths[:PATHS]) + more
