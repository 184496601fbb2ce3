# SPDX-License-Identifier: GPL-2.0-or-later
"""The model of a stack: what runs at each level. Stacks are files in `qemu-configs/stacks`."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from dvhbuild.errors import UserError
from dvhbuild.settings import ROOT

DIRECTORY = ROOT / "qemu-configs" / "stacks"
MAX_MEMORY = 2048
"""MiB of memory that the emulated machine can have at most (Bochs)."""


Machine = Literal["bochs", "tcg"]
"""What runs level 0."""

Parameters = dict[Annotated[str, Field(pattern=r"^\w+\.\w+$")], Annotated[str, Field(pattern=r"^[\w,-]+$")]]
"""Parameters of a kernel's modules, as MODULE.PARAMETER -> value."""


class Level(BaseModel):
    """One level: `memory` in MiB; `append` goes to its kernel, `parameters` are set once that is up.

    `qemu` holds further options of the QEMU that it runs in, `devices` those that give it devices. The shell of the
    level below runs `host` before it starts this one, this one's own runs `setup` once it is up.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cpus: int = Field(ge=1, le=8)
    memory: int = Field(ge=64, le=MAX_MEMORY)
    append: str = ""
    parameters: Parameters = Field(default_factory=dict)
    qemu: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    host: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()


class Change(BaseModel):
    """What a configuration has in the place of a level's own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    append: str | None = None
    parameters: Parameters | None = None
    qemu: tuple[str, ...] | None = None
    devices: tuple[str, ...] | None = None
    host: tuple[str, ...] | None = None
    setup: tuple[str, ...] | None = None

    def updates(self) -> dict[str, Any]:
        """What it changes, by field."""
        return self.model_dump(exclude_none=True)


Changes = dict[int, Change]
"""By the number of a level."""


_CHANGED = set(Change.model_fields)


class Config(BaseModel):
    """A variant of a stack: what is different at its levels; and `patched`, whether Linux and QEMU have our patches."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    patched: bool = True
    changes: Changes = Field(default_factory=dict)


class Stack(BaseModel):
    """`levels[0]` is the machine itself, each further one a guest of the one before.

    `machine` is what emulates it: Bochs is a Skylake with VMX, TCG a processor with SVM (see `machine`).
    `configs` are its variants, by name, of which `measured` are measured, or all; without them, it is `patched` or not.
    `experiments` are those that it is for, by name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    description: str
    machine: Machine = "bochs"
    levels: tuple[Level, ...] = Field(min_length=1, max_length=4)
    patched: bool = True
    configs: dict[str, Config] = Field(default_factory=dict)
    measured: tuple[str, ...] = ()
    experiments: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _changes_its_own_levels(self) -> Stack:
        for name, config in self.configs.items():
            for number in config.changes:
                if not 0 <= number < len(self.levels):
                    raise ValueError(f"configs.{name}.changes.{number}: the stack ends at L{len(self.levels) - 1}")
        return self

    @model_validator(mode="after")
    def _measures_its_own_configs(self) -> Stack:
        for name in self.measured:
            if name not in self.configs:
                raise ValueError(f"measured: {name} is none of its configs: {', '.join(self.configs) or 'none'}")
        return self

    def configured(self, name: str) -> Stack:
        """The stack in configuration `name`, which has no further ones; raises UserError if it has no such one."""
        if name not in self.configs:
            raise UserError(
                f"{self.name}: this stack has no configuration {name}",
                remedy=f"one of: {', '.join(self.configs)}" if self.configs else "see qemu-configs/stacks",
            )
        config = self.configs[name]
        alone = {"levels": self.changed(config.changes), "patched": config.patched, "configs": {}, "measured": ()}
        return self.model_copy(update=alone)

    def narrowed(self, names: Collection[str]) -> Stack:
        """The stack with no more than the configurations `names` to measure, once each, if these are any.

        Raises UserError if it has no such one.
        """
        for name in names:
            self.configured(name)
        return self.model_copy(update={"measured": tuple(dict.fromkeys(names))}) if names else self

    def essence(self, level: int) -> str:
        """What makes its levels up to `level` what they are, as text: not what it is called, or for."""
        return "\n".join([self.machine, *(each.model_dump_json() for each in self.levels[: level + 1])])

    @property
    def variants(self) -> tuple[str, ...]:
        """The names of the configurations that are measured."""
        return self.measured or tuple(self.configs)

    def changed(self, changes: Changes) -> tuple[Level, ...]:
        """Its levels with `changes`."""
        return tuple(
            level.model_copy(update=changes[number].updates()) if number in changes else level
            for number, level in enumerate(self.levels)
        )


class _Like(Config):
    """A configuration as it is different from `like`: STACK:CONFIGURATION."""

    like: Annotated[str | None, Field(pattern=r"^[\w-]+:[\w-]+$")] = None

    def update(self, config: Config) -> Config:
        """`config` with this one's changes."""
        merged = dict(config.changes)
        for number, change in self.changes.items():
            merged[number] = merged.get(number, Change()).model_copy(update=change.updates())
        return Config(patched=self.patched and config.patched, changes=merged)


class _Derived(BaseModel):
    """A stack as it is different from `base`: `changes` to that one's levels, further changes in its configurations."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: str
    description: str
    machine: Machine | None = None
    changes: Changes = Field(default_factory=dict)
    configs: dict[str, _Like] = Field(default_factory=dict)
    measured: tuple[str, ...] = ()
    experiments: tuple[str, ...] = ()

    def table(self, base: Stack, load: Callable[[str], Stack]) -> dict[str, Any]:
        """What the file of this stack would say without a base, and without the stacks that its configurations are
        like, which `load` reads. Raises ValueError if one of these has other levels.
        """
        for number in self.changes:
            if not 0 <= number < len(base.levels):
                raise ValueError(f"changes.{number}: the stack {base.name} ends at L{len(base.levels) - 1}")
        levels = base.changed(self.changes)
        configs = dict(base.configs)
        for name, config in self.configs.items():
            like = _whole(load, config.like, levels) if config.like else configs.get(name, Config())
            configs[name] = config.update(like)
        return {
            "description": self.description,
            "machine": self.machine or base.machine,
            "patched": base.patched,
            "levels": levels,
            "configs": configs,
            "measured": self.measured or base.measured,
            "experiments": self.experiments or base.experiments,
        }


def _whole(load: Callable[[str], Stack], like: str, levels: tuple[Level, ...]) -> Config:
    """What makes of `levels` those of the configuration `like`; raises ValueError if a change cannot."""
    name, _, config = like.partition(":")
    stack = load(name).configured(config)
    if [(level.cpus, level.memory) for level in stack.levels] != [(level.cpus, level.memory) for level in levels]:
        raise ValueError(f"{like} has other levels, CPUs or memory")
    changed = {number: Change(**level.model_dump(include=_CHANGED)) for number, level in enumerate(stack.levels)}
    return Config(patched=stack.patched, changes=changed)


def stack_names(directory: Path = DIRECTORY) -> tuple[str, ...]:
    """The names of the stacks that there are, in order."""
    return tuple(sorted(path.stem for path in directory.glob("*.toml")))


def load_stack(name: str, directory: Path = DIRECTORY, *, machine: str | None = None) -> Stack:
    """Read the stack `name`, for another `machine` than its own if that is given.

    Raises UserError, with file and key, if it is not there or not right.
    """
    return _load(name, directory, machine, ())


def _load(name: str, directory: Path, machine: str | None, above: tuple[str, ...]) -> Stack:
    """Read a stack, which is the base of the one `above` it, and that of the one before."""
    path = directory / f"{name}.toml"
    if name in above:
        raise UserError(f"{path}: a stack cannot be its own base: {' <- '.join((*above, name))}")
    try:
        table = tomllib.loads(path.read_text())
        if "base" in table:
            derived = _Derived(**table)
            chain = (*above, name)
            table = derived.table(
                _load(derived.base, directory, None, chain), lambda other: _load(other, directory, None, chain)
            )
        return Stack(name=name, **(table | ({"machine": machine} if machine else {})))
    except FileNotFoundError as error:
        known = ", ".join(stack_names(directory)) or "none"
        raise UserError(f"{path}: no such stack", remedy=f"there are: {known}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{path}: {where}: {first['msg']}") from error
    except TypeError as error:
        raise UserError(f"{path}: a stack's name is its file's name, not a key in it") from error
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error
