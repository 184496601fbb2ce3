# SPDX-License-Identifier: GPL-2.0-or-later
"""What a report knows besides the result: the paper's figures (`paper.toml`) and the mechanisms (`mechanisms.toml`)."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

HERE = Path(__file__).parent


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PaperRow(_Frozen):
    """One operation of the paper's; `vm`, `nested` and `dvh` are CPU cycles, `ours` what we call it."""

    operation: str
    vm: PositiveInt
    nested: PositiveInt
    dvh: PositiveInt
    ours: tuple[str, ...] = Field(min_length=1)


class Paper(_Frozen):
    """The paper's table, and where it is."""

    title: str
    authors: str
    where: str
    machine: str
    row: tuple[PaperRow, ...]


class Mechanism(_Frozen):
    """A mechanism of DVH: what it changes, and the operations whose pictures show it."""

    name: str
    text: str
    operations: tuple[str, ...] = Field(min_length=1)


@cache
def paper() -> Paper:
    return Paper(**tomllib.loads((HERE / "paper.toml").read_text()))


@cache
def mechanisms() -> tuple[Mechanism, ...]:
    tables = tomllib.loads((HERE / "mechanisms.toml").read_text())["mechanism"]
    return tuple(Mechanism(**table) for table in tables)
