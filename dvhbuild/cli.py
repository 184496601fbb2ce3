# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line: options in, stages called, errors turned into one line and an exit status."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from dvhbuild import cleaning
from dvhbuild import doctor as doctoring
from dvhbuild.bases import load_bases
from dvhbuild.build import COMPONENTS, Builder
from dvhbuild.cli_iterate import iterate
from dvhbuild.cli_report import report
from dvhbuild.cli_selftests import test_kvm, test_qemu
from dvhbuild.cli_series import series
from dvhbuild.cli_verify import compare, verify
from dvhbuild.errors import DvhError, HostError, UserError, system_error
from dvhbuild.interactive import interact
from dvhbuild.lab import bring_up, run_directory
from dvhbuild.options import as_json, fresh_option, machine_option, pass_settings, print_json, stack_option
from dvhbuild.settings import Settings
from dvhbuild.stack import load_stack
from dvhbuild.start import handle
from dvhbuild.terminal import TerminalReporter, explain

_EXAMPLES = """
\b
Examples:
  dvhbuild doctor --install     install what this machine lacks
  dvhbuild verify               boot L0, L1 and L2; a table of what each operation costs
  dvhbuild boot --levels 2      a shell in the nested guest
  dvhbuild series checkout bochs ~/bochs    a tree to edit; `series export` writes the patches back

\b
Shell completion: eval "$(_DVHBUILD_COMPLETE=bash_source dvhbuild)"
"""


@click.group(epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-v", "--verbose", is_flag=True, help="Show the commands that are run.")
@click.pass_context
def cli(context: click.Context, verbose: bool) -> None:
    """Direct Virtual Hardware: build it, boot nested guests on it, and prove what it does."""
    reporter = TerminalReporter(Console(stderr=True), verbose=verbose)
    context.call_on_close(reporter.close)
    context.obj = Settings.from_environment(reporter)


cli.add_command(series)
cli.add_command(test_kvm)
cli.add_command(test_qemu)
cli.add_command(verify)
cli.add_command(compare)
cli.add_command(report)
cli.add_command(iterate)


@cli.command()
@click.option("--install", is_flag=True, help="Install what is missing, through apt.")
@click.option("--patches", is_flag=True, help="Also what `series bisectable` needs.")
@as_json
@pass_settings
def doctor(settings: Settings, install: bool, patches: bool, as_json: bool) -> None:
    """Look for what this machine lacks."""
    needs = doctoring.NEEDS + (doctoring.CHECKERS if patches else ())
    if install:
        doctoring.install(settings, needs)
    findings = doctoring.examine(settings, needs)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            click.echo(f"{'ok     ' if finding.well else 'MISSING'} {finding.what}")
    bad = [finding for finding in findings if not finding.well]
    if bad:
        raise HostError(f"{bad[0].what}: not well", remedy="dvhbuild doctor --install, or: " + bad[0].remedy)


@cli.command()
@click.option("--refresh", is_flag=True, help="Look for newer point releases.")
@as_json
@pass_settings
def sources(settings: Settings, refresh: bool, as_json: bool) -> None:
    """Get the sources that everything is built from, and show what they are."""
    builder = Builder(settings)
    found = [builder.source(name, refresh=refresh) for name in load_bases()]
    if as_json:
        print_json([{**asdict(source), "path": str(source.path)} for source in found])
        return
    for source in found:
        click.echo(f"{source.name:8} {source.version:12} {source.origin}\n{'':8} {source.path}")


@cli.command()
@click.argument("components", metavar="[COMPONENT...]", type=click.Choice(COMPONENTS), nargs=-1)
@click.option("--explain", "explain_only", is_flag=True, help="Only say why something would be rebuilt.")
@as_json
@pass_settings
def build(settings: Settings, components: tuple[str, ...], explain_only: bool, as_json: bool) -> None:
    """Build COMPONENTS (linux, qemu, bochs, busybox, guest; all), or take them from the cache."""
    builder = Builder(settings)
    rows: list[dict[str, Any]] = []
    for name in components or COMPONENTS:
        if explain_only:
            rows.append({"component": name, "rebuilt_because": builder.store.explain(builder.recipe(name))})
        else:
            entry = builder.entry(name)
            rows.append({"component": name, "digest": entry.digest, "path": str(entry.path)})
    if as_json:
        print_json(rows)
        return
    for row in rows:
        if explain_only:
            click.echo(f"{row['component']}: {'; '.join(row['rebuilt_because']) or 'in the cache'}")
        else:
            click.echo(f"{row['component']}: {row['path']}")


@cli.command()
@click.option("--levels", type=click.IntRange(0), default=2, show_default=True, help="The highest level to boot.")
@stack_option("base-2cpu")
@machine_option
@fresh_option
@pass_settings
def boot(settings: Settings, levels: int, stack_name: str, machine: str | None, fresh: bool) -> int:
    """Boot L0 and the levels above it; ends in a shell in the highest (or runs standard input there, if it is a pipe).

    Ctrl-] leaves, Ctrl-^ goes to the next lower level.
    """
    stack = load_stack(stack_name, machine=machine)
    if levels >= len(stack.levels):
        raise UserError(f"--levels {levels}: the stack {stack_name} ends at L{len(stack.levels) - 1}")
    directory = run_directory(settings, "boot")
    with bring_up(Builder(settings), stack, levels, directory, fresh=fresh) as nest:
        settings.reporter.remark(f"logs: {directory}")
        return interact(nest)


@cli.command()
@click.option("--all", "everything", is_flag=True, help="Remove downloads, git repositories and results, too.")
@pass_settings
def clean(settings: Settings, everything: bool) -> None:
    """Remove what was built: programs, saved states, what cells came to, build trees, logs, ccache.

    What a running dvhbuild has is left, and named. With --all, nothing stays but the empty files of locks. Checkouts of
    series borrow the base's commits and ours from the git repositories: until `dvhbuild series apply` has made these
    again, of the same sources and patches, git finds nothing in a checkout.
    """
    done = cleaning.clean(settings, everything=everything)
    for path in done.removed:
        click.echo(f"removed {path}")
    for path in done.left:
        click.echo(f"left, as another dvhbuild is at work: {path}")


def _interrupt(_sign: int, _frame: object) -> None:
    """End in good order, and let nothing interrupt that."""
    handle(signal.SIG_IGN)
    raise KeyboardInterrupt


def _again() -> str:
    """The command line that does the same once more, from here: our variables, the program, its words."""
    ours = sorted((name, value) for name, value in os.environ.items() if name.startswith("DVHBUILD_") and value)
    variables = [f"{name}={shlex.quote(value)}" for name, value in ours]
    return " ".join([*variables, shlex.join([*_program(), *sys.argv[1:]])])


def _program() -> list[str]:
    """What was run, by its mere name if that finds it."""
    path = Path(sys.argv[0])
    if path.name == "__main__.py":
        return [sys.executable, "-m", "dvhbuild"]
    found = shutil.which(path.name)
    return [path.name if found and Path(found).resolve() == path.resolve() else sys.argv[0]]


def main() -> None:
    """Run the command line; exit with the status that the error names (see `errors`), 130 when interrupted."""
    console = Console(stderr=True)
    again = _again()
    handle(_interrupt)
    try:
        sys.exit(cli.main(standalone_mode=False))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        console.print("dvhbuild: interrupted")
        sys.exit(130)
    except DvhError as error:
        explain(error, console, again)
        sys.exit(error.status)
    except OSError as error:
        host = system_error(error, "the system")
        explain(host, console, again)
        sys.exit(host.status)
