# SPDX-License-Identifier: GPL-2.0-or-later
"""The model of a stack: what runs at each level. Stacks are files in `qemu-configs/stacks`."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from dvhbuild.errors import UserError
from dvhbuild.settings import ROOT

DIRECTORY = ROOT / "qemu-configs" / "stacks"
MAX_MEMORY = 2048
"""MiB of memory that the emulated machine can have at most (Bochs)."""


Parameters = dict[Annotated[str, Field(pattern=r"^\w+\.\w+$")], Annotated[str, Field(pattern=r"^[\w,-]+$")]]
"""Parameters of a kernel's modules, as MODULE.PARAMETER -> value."""


class Level(BaseModel):
    """One level: `memory` in MiB; `append` goes to its kernel, `parameters` are set once that is up; `qemu` holds
    further options of the QEMU it runs in.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cpus: int = Field(ge=1, le=8)
    memory: int = Field(ge=64, le=MAX_MEMORY)
    append: str = ""
    parameters: Parameters = Field(default_factory=dict)
    qemu: tuple[str, ...] = ()


class Change(BaseModel):
    """What a configuration has in the place of a level's own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    append: str | None = None
    parameters: Parameters | None = None
    qemu: tuple[str, ...] | None = None


class Stack(BaseModel):
    """`levels[0]` is the machine itself, each further one a guest of the one before.

    `machine` is what emulates it: Bochs is a Skylake with VMX, TCG a processor with SVM (see `machine`).
    `configs` are variants, by name: the number of a level -> what is different there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    description: str
    machine: Literal["bochs", "tcg"] = "bochs"
    levels: tuple[Level, ...] = Field(min_length=1, max_length=4)
    configs: dict[str, dict[int, Change]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _changes_its_own_levels(self) -> Stack:
        for name, changes in self.configs.items():
            for number in changes:
                if not 0 <= number < len(self.levels):
                    raise ValueError(f"configs.{name}.{number}: the stack ends at L{len(self.levels) - 1}")
        return self

    def configured(self, name: str) -> Stack:
        """The stack in configuration `name`, which has no further ones; raises UserError if it has no such one."""
        if name not in self.configs:
            raise UserError(
                f"{self.name}: this stack has no configuration {name}",
                remedy=f"add [configs.{name}.1] to {DIRECTORY / self.name}.toml",
            )
        changes = self.configs[name]
        levels = tuple(
            level.model_copy(update=changes[number].model_dump(exclude_none=True)) if number in changes else level
            for number, level in enumerate(self.levels)
        )
        return self.model_copy(update={"levels": levels, "configs": {}})


def load_stack(name: str, directory: Path = DIRECTORY, *, machine: str | None = None) -> Stack:
    """Read the stack `name`, for another `machine` than its own if that is given.

    Raises UserError, with file and key, if it is not there or not right.
    """
    path = directory / f"{name}.toml"
    try:
        table = tomllib.loads(path.read_text())
        return Stack(name=name, **(table | ({"machine": machine} if machine else {})))
    except FileNotFoundError as error:
        known = ", ".join(sorted(p.stem for p in directory.glob("*.toml"))) or "none"
        raise UserError(f"{path}: no such stack", remedy=f"there are: {known}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{path}: {where}: {first['msg']}") from error
    except TypeError as error:
        raise UserError(f"{path}: a stack's name is its file's name, not a key in it") from error
