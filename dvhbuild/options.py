# SPDX-License-Identifier: GPL-2.0-or-later
"""What the commands of the command line share: their settings, options of more than one, JSON for a program to read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, get_args

import click

from dvhbuild.settings import Settings
from dvhbuild.stack import Machine

pass_settings = click.make_pass_decorator(Settings)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for a program to read.")

new_file = click.Path(path_type=Path, dir_okay=False)
old_file = click.Path(path_type=Path, dir_okay=False, exists=True)

fresh_option = click.option("--fresh", is_flag=True, help="Boot, even if there is a saved state.")
again_option = click.option("--again", is_flag=True, help="Measure even what was measured before.")
scheduler_option = click.option(
    "--scheduler", metavar="ADDRESS", help="Let the workers of this scheduler measure (dask scheduler, dask worker)."
)
config_option = click.option(
    "--config", "configs", multiple=True, help="Measure this configuration of the stack, or these, and no more."
)
machine_option = click.option("--machine", type=click.Choice(get_args(Machine)), help="Run it on another machine.")

_Command = TypeVar("_Command", bound=Callable[..., Any])


def stack_option(default: str) -> Callable[[_Command], _Command]:
    return click.option(
        "--stack", "stack_name", default=default, show_default=True, help="A file in qemu-configs/stacks."
    )


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, default=str))
