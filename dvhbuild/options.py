# SPDX-License-Identifier: GPL-2.0-or-later
"""What the commands of the command line share: their settings, and JSON for a program to read."""

from __future__ import annotations

import json
from typing import Any

import click

from dvhbuild.settings import Settings

pass_settings = click.make_pass_decorator(Settings)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for a program to read.")


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, default=str))
