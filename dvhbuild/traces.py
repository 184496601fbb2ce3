# SPDX-License-Identifier: GPL-2.0-or-later
"""Whole traces, kept beside the rows that were worked out of them, to be looked at later."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from dvhbuild.result import Row
from dvhbuild.trace import Timeline, locate, read

_NAME = "{number}.{what}"


@dataclass(frozen=True)
class Traced:
    """A row and its trace: `data` as `kvmwindow` wrote it, the level of each vCPU before, each operation's ticks."""

    row: Row
    data: bytes
    levels: Mapping[int, int]
    operations: tuple[tuple[int, int], ...]

    @property
    def timeline(self) -> Timeline:
        return locate(read(self.data), self.levels)


class _About(BaseModel):
    """What there is to say of a trace, as a file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    levels: dict[int, Annotated[int, Field(ge=0)]]
    operations: tuple[tuple[int, int], ...]


def pack(traces: Iterable[Traced]) -> bytes:
    """The traces of a cell, in the order of its rows, as the bytes of a ZIP file."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        for number, traced in enumerate(traces):
            about = _About(levels=dict(traced.levels), operations=traced.operations)
            file.writestr(_NAME.format(number=number, what="json"), about.model_dump_json())
            file.writestr(_NAME.format(number=number, what="trace"), traced.data)
    return packed.getvalue()


def unpack(packed: bytes, rows: Iterable[Row]) -> Iterator[Traced]:
    """What `pack` has packed, a trace for each of the cell's `rows`."""
    with zipfile.ZipFile(io.BytesIO(packed)) as file:
        for number, row in enumerate(rows):
            about = _About.model_validate_json(file.read(_NAME.format(number=number, what="json")))
            data = file.read(_NAME.format(number=number, what="trace"))
            yield Traced(row, data, about.levels, about.operations)
