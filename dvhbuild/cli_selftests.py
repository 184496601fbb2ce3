# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line's part for the tests of patched trees, KVM's and QEMU's: a line for each, and a verdict."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import click

from dvhbuild import posted, qtests
from dvhbuild.build import Builder
from dvhbuild.errors import VerdictError
from dvhbuild.ksft import Kind
from dvhbuild.lab import run_directory
from dvhbuild.options import pass_settings
from dvhbuild.selftests import Outcome, choose, load_plan
from dvhbuild.settings import Settings
from dvhbuild.stack import load_stack
from dvhbuild.trial import Trial

STACK = "selftests"
KEPT_DAYS = 14.0
KEPT_BYTES = 1 << 30
"""How long built tests and their disks are kept unused, and how much they may take."""


@click.command("test-kvm")
@click.argument("tests", metavar="[TEST...]", nargs=-1)
@click.option("--debug", is_flag=True, help="On a kernel with KASAN, lockdep and the like.")
@click.option("--fresh", is_flag=True, help="Boot, even if there is a saved state.")
@click.option("--list", "list_only", is_flag=True, help="Only say which tests there are.")
@pass_settings
def test_kvm(settings: Settings, tests: tuple[str, ...], debug: bool, fresh: bool, list_only: bool) -> None:
    """Run the kernel's KVM selftests in L0: TESTS (names or patterns) of those in selftests.toml, or all.

    Exit status 1 if one did not do what it should; `known` is a failure that the unpatched kernel has here too.
    """
    plan = load_plan().for_debug() if debug else load_plan()
    builder = Builder(settings, debug=debug)
    built = builder.selftests(plan.tests)
    chosen = choose([path.name for path in (built.path / "bin").iterdir()], tests, plan)
    if list_only:
        click.echo("\n".join(sorted(chosen)))
        return
    builder.cd(load_stack(STACK))
    disk = builder.tests_disk(built)
    for prefix in ("selftests-", "tests-"):
        builder.store.prune(prefix, max_days=KEPT_DAYS, max_bytes=KEPT_BYTES)
    directory = run_directory(settings, "test-kvm")
    _report("selftests", Trial(builder, load_stack(STACK), disk, plan, directory, fresh).run(chosen), directory)


@click.command("test-qemu")
@click.argument("tests", metavar="[TEST...]", nargs=-1)
@click.option("--sanitize", is_flag=True, help="On a QEMU with AddressSanitizer and UndefinedBehaviorSanitizer.")
@click.option("--list", "list_only", is_flag=True, help="Only say which tests there are.")
@pass_settings
def test_qemu(settings: Settings, tests: tuple[str, ...], sanitize: bool, list_only: bool) -> None:
    """Run QEMU's qtests for x86: TESTS (names or patterns) of those in qtests.toml, or all. No KVM is needed.

    One of them is ours: posted-msi boots a Linux whose every MSI is posted by QEMU's IOMMU, and puts it under load.

    Exit status 1 if one did not do what it should; `known` is a failure that the unpatched QEMU has here too.
    """
    plan = load_plan(qtests.LIST)
    builder = Builder(settings)
    built = builder.qtests(plan.tests, sanitize=sanitize)
    chosen = choose([posted.NAME, *(path.name for path in (built.path / "bin").iterdir())], tests, plan)
    if list_only:
        click.echo("\n".join(sorted(chosen)))
        return
    plan = plan.for_debug() if sanitize else plan
    parts = posted.parts(builder, built.path) if posted.NAME in chosen else None
    builder.store.prune("qtests", max_days=KEPT_DAYS, max_bytes=KEPT_BYTES)
    directory = run_directory(settings, "test-qemu")
    others = {posted.NAME: lambda: posted.run(parts, plan, directory, settings)} if parts else {}
    outcomes = qtests.run(built.path, chosen, plan, directory, settings, others)
    _report("qtests", outcomes, directory)


def _report(what: str, running: Iterable[Outcome], directory: Path) -> None:
    """Tell each outcome as it comes, and of all of them; raises VerdictError if one is not what it should be."""
    begin = time.monotonic()
    outcomes = []
    for outcome in running:
        _show(outcome)
        outcomes.append(outcome)
    counts = Counter(outcome.verdict.kind for outcome in outcomes)
    told = ", ".join(f"{counts[kind]} {kind.value}" for kind in Kind if counts[kind])
    click.echo(f"{what}: {told}, in {time.monotonic() - begin:.0f} s; logs: {directory}")
    bad = [outcome for outcome in outcomes if not outcome.good]
    if bad:
        names = " ".join(outcome.test for outcome in bad)
        raise VerdictError(f"{len(bad)} of {len(outcomes)} {what} failed: {names}", log=bad[0].log)


def _show(outcome: Outcome) -> None:
    click.echo(
        f"{outcome.verdict.kind.value:8}{outcome.test:42}{outcome.seconds:7.1f} s  {outcome.verdict.why}".rstrip()
    )
    if not outcome.good:
        for line in outcome.tail:
            click.echo(f"        | {line}")
        click.echo(f"        log: {outcome.log}")
