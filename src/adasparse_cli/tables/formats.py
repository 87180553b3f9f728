"""A table file of any format, as frames of text with the line number of each row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

import polars as pl

from adasparse_cli.choices import Encoding
from adasparse_cli.errors import DataError
from adasparse_cli.prep.recipe import INTERNAL
from adasparse_cli.raw.raw_files import partition_values
from adasparse_cli.raw.shards import Shard, Survey

SAMPLE_ROWS = 50_000
# Each column becomes a field with a vocabulary; a wrong separator can create millions.
MOST_COLUMNS = 10_000


class FormatSettings(Protocol):
    """The settings that affect reading a file."""

    @property
    def separator(self) -> str | None: ...

    @property
    def header(self) -> tuple[str, ...]: ...

    @property
    def encoding(self) -> Encoding: ...

    @property
    def list_separator(self) -> str: ...

    @property
    def quoted_newlines(self) -> bool: ...

    def reads(self, column: str) -> bool:
        """Whether the values of a column are needed."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """An opened file: its columns, its first rows, and all of its rows as frames of text with LINE.

    Opening reads the header only.

    Args:
        name: name of the file in rejected rows.
        columns: all columns that settings can name; columns that settings do not read may be absent from the frames.
        first: reads the first rows; use `sample`.
        consumed: bytes of the file on disk that have been read so far.
        survey: divides the file, given its index among the sources, into parts that can be read on their own.
        part: the frames of one of these parts; all parts in order have the rows of `frames`.
        notes: decisions made while it was opened.
    """

    path: Path
    name: str
    columns: list[str]
    first: Callable[[], pl.DataFrame]
    frames: Callable[[], Iterator[pl.DataFrame]]
    consumed: Callable[[], int]
    survey: Callable[[int], Survey]
    part: Callable[[Shard], Iterator[pl.DataFrame]]
    notes: tuple[str, ...] = ()

    @cached_property
    def sample(self) -> pl.DataFrame:
        """The first rows; no row of the table is rejected for them."""
        return self.first()


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The usable columns of a file.

    Args:
        named: the names that can be used, in the file's order.
        kept: the columns that may be read.
        notes: omitted columns, and why.
    """

    named: list[str]
    kept: list[str]
    notes: tuple[str, ...]


def usable_columns(where: str, columns: list[str], settings: FormatSettings) -> Columns:
    """The columns of a file that are read.

    A column without a name is ignored. A reserved name is an error unless the column is not needed. Reserved are the names of
    internal columns, and names that polars reads as patterns.

    Args:
        where: the file and line of the names, for messages.

    Raises:
        DataError: there are too many columns, or a name is repeated or reserved.
    """
    if len(columns) > MOST_COLUMNS:
        raise DataError(
            f"{where}: {len(columns):,} columns, but at most {MOST_COLUMNS:,} can be read",
            hint="check data.separator; or keep only the columns that are needed",
        )
    twice = sorted(name for name, times in Counter(columns).items() if name and times > 1)
    if twice:
        raise DataError(f"{where}: the column {twice[0]} appears twice", hint="give each column a unique name")
    named = [name for name in columns if name]
    taken = [name for name in named if name in INTERNAL or name == "*" or (name[0] == "^" and name[-1] == "$")]
    for name in taken:
        if settings.reads(name):
            raise DataError(
                f"{where}: the column {name!r} has a name that adasparse reserves",
                hint=f"rename it, or ignore it: 'data.roles={{{name}: ignored}}'",
            )
    unnamed = [str(k) for k, name in enumerate(columns, start=1) if not name]
    notes = [f"{where}: column {', '.join(unnamed)} has no name and is ignored"] if unnamed else []
    return Columns(named=named, kept=[name for name in named if name not in taken], notes=tuple(notes))


def with_partitions(table: Table, settings: FormatSettings) -> Table:
    """A table with the columns from its folder names, for example `day=1`; a column of the file overrides them."""
    values = partition_values(table.path)
    if not values:
        return table
    where = table.path.parent
    usable = usable_columns(str(where), list(values), settings)
    added = {name: values[name] for name in usable.kept if name not in table.columns}
    notes = [
        f"{where}: {name} is read from the files, not from the folder's name" for name in values if name not in added
    ]

    def widened(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.with_columns(pl.lit(value, dtype=pl.String).alias(name) for name, value in added.items())

    return replace(
        table,
        columns=[*table.columns, *added],
        first=lambda: widened(table.sample),
        frames=lambda: (widened(frame) for frame in table.frames()),
        part=lambda shard: (widened(frame) for frame in table.part(shard)),
        notes=(*table.notes, *notes),
    )
