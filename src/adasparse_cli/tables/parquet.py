"""Parquet tables: columns converted to text as in a text file. A column that cannot be converted is an error with a hint."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import polars as pl

from adasparse_cli.errors import DataError
from adasparse_cli.prep.recipe import LINE
from adasparse_cli.raw.rejected import Reject
from adasparse_cli.raw.shards import Shard, Survey, surveyed
from adasparse_cli.tables import parquet_probe as probe
from adasparse_cli.tables.formats import SAMPLE_ROWS, FormatSettings, Table, usable_columns

ROWS = 250_000
T = TypeVar("T")


def open_parquet(path: Path, name: str, settings: FormatSettings, rejects: list[Reject]) -> Table:
    """Open a Parquet file. Columns that are not needed and have no plain text are not read.

    Raises:
        DataError: it cannot be read, or a column's type has no text.
    """

    def opened() -> tuple[pl.Schema, int]:
        probe.check_described(path)
        return probe.described(path)

    schema, rows = _readable(opened, path, "the file's metadata")
    columns = usable_columns(str(path), list(schema), settings)
    ignored = [own for own in columns.kept if not settings.reads(own)]
    for own in columns.kept:
        kind = schema[own]
        if own not in ignored and not _has_text(kind):
            raise DataError(
                f"{path}: the column {own} is of type {kind}, which cannot be converted to text",
                hint=f"ignore it with 'data.roles={{{own}: ignored}}', or write it as text, numbers or lists of these",
            )
    # equal rows are found by all columns, as in text files; of the ignored columns, only plain ones are read for this
    kept = [
        own for own in columns.kept if own not in ignored or (_has_text(schema[own]) and not schema[own].is_nested())
    ]
    if not kept:
        raise DataError(f"{path} has no column that can be read", hint="check the file and data.roles")
    done = 0

    def text(start: int, number: int, sink: list[Reject]) -> pl.DataFrame:
        def frame() -> pl.DataFrame:
            probe.check_part(path, kept, start, number, settings.list_separator)
            return _as_text(probe.part(path, kept, start, number), start, name, settings, sink)

        return _readable(frame, path, f"row {start + 1:,} or a later one")

    def part(shard: Shard) -> Iterator[pl.DataFrame]:
        yield text(shard.start, ROWS, rejects)

    def shards(source: int) -> tuple[Shard, ...]:
        # as in a text file, where the header is line 1, the first row is line 2
        return tuple(Shard(source, start, min(start + ROWS, rows), start + 2) for start in range(0, rows, ROWS))

    def frames() -> Iterator[pl.DataFrame]:
        nonlocal done
        for shard in shards(0):
            for found in part(shard):
                done = path.stat().st_size * (shard.end or 0) // rows
                yield found

    return Table(
        path=path,
        name=name,
        columns=columns.named,
        first=lambda: text(0, SAMPLE_ROWS, []),
        frames=frames,
        consumed=lambda: done,
        survey=lambda source: Survey(surveyed(path, source, None).sha256, shards(source)),
        part=part,
        notes=columns.notes,
    )


def _readable(read: Callable[[], T], path: Path, what: str) -> T:
    try:
        return read()
    except (
        pl.exceptions.PolarsError,
        pl.exceptions.PanicException,
        probe.UnreadableError,
        OverflowError,
        ValueError,
    ) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(
            f"{path} is not a readable Parquet file: {what} cannot be read: {reason}", hint="get the file again"
        ) from None


def _has_text(kind: pl.DataType) -> bool:
    """Whether the values of a type, or the values of its lists, have a plain text."""
    if isinstance(kind, (pl.List, pl.Array)):
        inner = kind.inner
        return isinstance(inner, pl.DataType) and not inner.is_nested() and inner != pl.Binary and _has_text(inner)
    return not (kind.is_nested() or isinstance(kind, (pl.Duration, pl.Object, pl.Unknown)))


def _as_text(
    frame: pl.DataFrame, start: int, name: str, settings: FormatSettings, rejects: list[Reject]
) -> pl.DataFrame:
    # as in a text file, where the header is line 1, the first row is line 2
    lines = pl.int_range(start + 2, start + 2 + frame.height, dtype=pl.Int64, eager=True).alias(LINE)
    good = pl.Series([True]).new_from_index(0, frame.height)
    columns = []
    for values in frame.iter_columns():
        text, bad, reason = probe.text_of(values, settings.list_separator)
        if bad is not None and (bad := bad.fill_null(False) & good).any():
            for line, value in zip(lines.filter(bad), values.filter(bad), strict=True):
                rejects.append(Reject(source=name, line=line, column=values.name, value=str(value)[:80], reason=reason))
            good &= ~bad
        columns.append(text)
    return pl.DataFrame([*columns, lines]).filter(good)
