# SPDX-License-Identifier: GPL-2.0-or-later
"""Experiments on a guest: each operation once undisturbed, for its instructions, and once traced, for its exits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass

from dvhbuild import counters, load, probe, trace
from dvhbuild.counters import Snapshot
from dvhbuild.experiments.model import Experiment, Guest, Operation
from dvhbuild.load import Load
from dvhbuild.nest import Nest
from dvhbuild.probe import Outcome, Probe
from dvhbuild.result import Row, traced
from dvhbuild.steps import step
from dvhbuild.trace import Markers
from dvhbuild.traces import Traced
from dvhbuild.window import Windows, open_windows

TRACE_KIB = 16384
"""Size of L0's trace buffer at least, KiB per CPU: some 200,000 events."""

KIB_PER_OPERATION = 4
"""What an operation of L2 takes in it, with its markers and some to spare."""

Session = Probe | Load

Keep = Callable[[Traced], None]
"""What is done with the trace that a row was worked out of."""


def measure(
    nest: Nest,
    level: int,
    experiments: Iterable[tuple[Experiment, str]],
    ops: int,
    guest: Guest = "probe",
    keep: Keep | None = None,
) -> Iterator[Row]:
    """Measure what a guest at `level` of `nest` performs of `experiments`, `ops` times each operation, a row at a time.

    Each experiment comes with the name of the configuration that its rows are in. `keep` gets each row's trace, in
    their order, but by another thread.

    Raises VerdictError if counters and trace disagree, GuestError if a check of the guest fails.
    """
    reporter = nest.settings.reporter
    nested_by_vmx = level > 1 and nest.stack.machine == "bochs"
    markers = trace.MSR if guest == "probe" and nested_by_vmx else trace.PORTS
    start: Callable[[Nest, int], AbstractContextManager[Session]] = probe.start if guest == "probe" else load.start
    # A Linux is not held still: it has its own business, which L1 would count.
    with_l1 = level > 1 and guest == "probe"
    # A window is worked out while the guest performs what comes next: an idle guest costs as much as a busy one.
    with (
        start(nest, level) as session,
        open_windows(nest, with_l1=with_l1) as windows,
        ThreadPoolExecutor(1) as pool,
    ):
        row: Future[Row] | None = None
        for experiment, config in experiments:
            title = f"measure {experiment.name} at L{level}"
            with step(reporter, title, nest.machine.directory / f"l{level}.log") as current:
                for operation in experiment.performed_by(guest):
                    reporter.advanced(current, operation.name)
                    undisturbed = session.run(operation.name, ops, *operation.options)
                    window = _traced_run(windows, session, operation, ops, markers)
                    if row:
                        yield row.result()
                    row = pool.submit(_row, level, (experiment.name, config, operation), undisturbed, window, keep)
        if row:
            yield row.result()


@dataclass(frozen=True)
class _Window:
    """A traced run: what the guest said, L0's counters at both ends and its trace, L1's counters if these tell much."""

    markers: Markers
    outcome: Outcome
    before: Snapshot
    after: Snapshot
    data: bytes
    l1: tuple[Snapshot, Snapshot] | None


def _traced_run(windows: Windows, session: Session, operation: Operation, ops: int, markers: Markers) -> _Window:
    """Perform the operation between markers, in a window of L0's counters and trace."""
    with windows.held() as l1_before:
        before = windows.begin(max(TRACE_KIB, ops * KIB_PER_OPERATION))
    outcome = session.run(operation.name, ops, markers.word, *operation.options)
    with windows.held() as l1_after:
        after = windows.end()
    l1 = (l1_before, l1_after) if l1_before and l1_after else None
    return _Window(markers, outcome, before, after, windows.trace(), l1)


def _row(
    level: int, names: tuple[str, str, Operation], undisturbed: Outcome, window: _Window, keep: Keep | None
) -> Row:
    """Work out one operation's row; `names` are its experiment, the configuration, and itself."""
    experiment, config, operation = names
    levels = counters.levels(window.before)
    timeline = trace.locate(trace.read(window.data), levels)
    counted = counters.agree(window.before, window.after, timeline)
    counted_by_l1: Mapping[str, int] = {}
    if window.l1:
        l1 = counters.difference(*window.l1)
        counters.agree_with_l1(timeline, l1)
        counted_by_l1 = l1.vm
    operations = trace.cut(timeline, level=level, own=operation.own, markers=window.markers)
    summary = trace.summarize(operations)
    picture = trace.picture(timeline, operations, operation.own)
    row = Row(
        experiment=experiment,
        config=config,
        operation=operation.name,
        level=level,
        ops=undisturbed.ops,
        lost=undisturbed.lost + window.outcome.lost,
        early=undisturbed.early + window.outcome.early,
        wrong=undisturbed.wrong + window.outcome.wrong,
        instructions_p50=undisturbed.p50,
        instructions_p90=undisturbed.p90,
        instructions_p99=undisturbed.p99,
        instructions_max=undisturbed.max,
        instructions_mean=undisturbed.mean,
        distribution=undisturbed.distribution,
        **traced(summary, picture, counted.vm, counted_by_l1),
    )
    if keep:
        keep(Traced(row, window.data, levels, tuple((each.begin, each.end) for each in operations.operations)))
    return row
