"""A table's file, whatever its format, as frames of text with the number of each row's line."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from adasparse_cli.errors import DataError, UsageError
from adasparse_cli.prep.lines import TextFile
from adasparse_cli.prep.recipe import LINE, Reject

SAMPLE_BYTES, SAMPLE_ROWS, PARQUET_ROWS = 4 << 20, 50_000, 250_000
_SEPARATORS = (",", "\t", ";", "|")


class TextSettings(Protocol):
    """The settings that matter for reading text."""

    @property
    def separator(self) -> str | None: ...

    @property
    def list_separator(self) -> str: ...


@dataclass(frozen=True)
class Table:
    """An opened file: its columns, its first rows, and all of its rows as frames of text with LINE."""

    path: Path
    columns: list[str]
    sample: pl.DataFrame
    frames: Callable[[], Iterator[pl.DataFrame]]
    consumed: Callable[[], int]


def opened_table(path: Path, settings: TextSettings, rejects: list[Reject]) -> Table:
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in (".gz", ".zip")]
    suffix = suffixes[-1] if suffixes else ""
    if suffix in (".parquet", ".pq"):
        return _open_parquet(path, settings)
    if suffix in (".ndjson", ".jsonl"):
        return _open_ndjson(path, settings, rejects)
    return _open_text(path, settings, rejects, "\t" if suffix in (".tsv", ".tab") else None)


def _open_text(path: Path, settings: TextSettings, rejects: list[Reject], usual: str | None) -> Table:
    separator = settings.separator or usual
    if separator is None:
        header = TextFile(path, b",", []).header.decode("utf-8", "replace")
        separator = max(_SEPARATORS, key=header.count)
    if len(separator.encode()) != 1:
        raise UsageError(f"data.separator={separator!r} is not one character", hint="such as ',' or '\\t'")

    def opened(sink: list[Reject]) -> TextFile:
        return TextFile(path, separator.encode(), sink, quoted=True)

    file = opened(rejects)
    columns = file.columns
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise DataError(f"{path}:1: the header names {twice[0]} twice", hint="give each column a name of its own")

    def frames(source: TextFile, block_bytes: int = 32 << 20) -> Iterator[pl.DataFrame]:
        for block in source.blocks(block_bytes):
            if b'"' in block.data:
                yield _unquoted(block.data, block.numbers.tolist(), source, columns, separator)
            else:
                text = pl.read_csv(
                    block.data,
                    has_header=False,
                    separator=separator,
                    quote_char=None,
                    schema=dict.fromkeys(columns, pl.String),
                    empty_string_is_null=False,
                )
                yield text.with_columns(pl.Series(LINE, block.numbers, dtype=pl.Int64))

    sample = next(frames(opened([]), SAMPLE_BYTES), pl.DataFrame(schema=dict.fromkeys(columns, pl.String)))
    return Table(path, columns, sample, lambda: frames(file), lambda: file.consumed)


def _unquoted(data: bytes, lines: list[int], file: TextFile, columns: list[str], separator: str) -> pl.DataFrame:
    """Lines with quotes, one by one: a quote that is not closed spoils its own line and no other."""
    rows, kept = [], []
    for line, text in zip(lines, data.decode("utf-8").split("\n"), strict=False):
        try:
            row = next(csv.reader([text], delimiter=separator, strict=True))
        except csv.Error:
            file.reject(
                line,
                "",
                text,
                "has a quote that does not close on its line (line breaks in quotes are not read), or closes too early",
            )
            continue
        if len(row) == len(columns):
            rows.append(row)
            kept.append(line)
        else:
            many = "too many" if len(row) > len(columns) else "too few"
            file.reject(line, "", text, f"{many} columns: {len(row)} where the header has {len(columns)}")
    frame = pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row")
    return frame.with_columns(pl.Series(LINE, kept, dtype=pl.Int64))


def _open_ndjson(path: Path, settings: TextSettings, rejects: list[Reject]) -> Table:
    def objects(source: TextFile, block_bytes: int) -> Iterator[list[tuple[int, dict[str, str | None]]]]:
        for block in source.blocks(block_bytes):
            found = []
            for line, text in zip(block.numbers.tolist(), block.data.split(b"\n"), strict=False):
                row = _json_row(text, line, source, settings.list_separator)
                if row is not None:
                    found.append((line, row))
            yield found

    first = next(objects(TextFile(path, None, []), SAMPLE_BYTES), [])
    columns = list(dict.fromkeys(name for _, row in first for name in row))
    if not columns:
        raise DataError(f"{path}:1: holds no JSON object", hint='each line must be one, such as {"clicked": 1, …}')
    file = TextFile(path, None, rejects)

    def frame(found: list[tuple[int, dict[str, str | None]]]) -> pl.DataFrame:
        kept = []
        for line, row in found:
            strange = [name for name in row if name not in columns]
            if strange:
                file.reject(line, strange[0], row[strange[0]] or "", "is a key that the first rows lack")
            else:
                kept.append((line, row))
        data = {name: pl.Series(name, [row.get(name) for _, row in kept], dtype=pl.String) for name in columns}
        return pl.DataFrame({**data, LINE: pl.Series([line for line, _ in kept], dtype=pl.Int64)})

    def frames() -> Iterator[pl.DataFrame]:
        for found in objects(file, 32 << 20):
            yield frame(found)

    return Table(path, columns, frame(first), frames, lambda: file.consumed)


def _json_row(text: bytes, line: int, file: TextFile, list_separator: str) -> dict[str, str | None] | None:
    # numbers stay as they are written: an id never goes through a float
    try:
        row = json.loads(text, parse_float=str, parse_int=str)
    except (ValueError, RecursionError):
        file.reject(line, "", text[:80].decode("utf-8", "replace"), "is no JSON")
        return None
    if not isinstance(row, dict):
        file.reject(line, "", text[:80].decode("utf-8", "replace"), "is no JSON object")
        return None
    plain: dict[str, str | None] = {}
    for name, value in row.items():
        if isinstance(value, list) and not any(isinstance(item, (list, dict)) for item in value):
            plain[name] = list_separator.join(_json_text(item) or "" for item in value)
        elif isinstance(value, (list, dict)):
            file.reject(line, name, str(value), "is nested")
            return None
        else:
            plain[name] = _json_text(value)
    return plain


def _json_text(value: Any) -> str | None:
    return None if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _open_parquet(path: Path, settings: TextSettings) -> Table:
    try:
        scanned = pl.scan_parquet(path)
        schema = scanned.collect_schema()
        rows = int(scanned.select(pl.len()).collect().item())
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path} is no readable Parquet file: {error}", hint="get the file again") from None
    done = 0

    def text(start: int, number: int) -> pl.DataFrame:
        frame = scanned.slice(start, number).collect()
        columns = [_text_of(frame[name], settings.list_separator) for name in schema]
        # the first row of a table without header lines is line 2, as it would be in a text file
        return pl.DataFrame(columns).with_columns(pl.int_range(start + 2, start + 2 + frame.height).alias(LINE))

    def frames() -> Iterator[pl.DataFrame]:
        nonlocal done
        for start in range(0, rows, PARQUET_ROWS):
            yield text(start, PARQUET_ROWS)
            done = path.stat().st_size * min(start + PARQUET_ROWS, rows) // max(rows, 1)

    return Table(path, list(schema), text(0, SAMPLE_ROWS), frames, lambda: done)


def _text_of(values: pl.Series, list_separator: str) -> pl.Series:
    """A column as it would stand in a text file; points in time in UTC, to the second."""
    if isinstance(values.dtype, pl.List):
        return values.cast(pl.List(pl.String)).list.join(list_separator)
    if isinstance(values.dtype, pl.Datetime):
        utc = values if values.dtype.time_zone is None else values.dt.convert_time_zone("UTC")
        return utc.dt.strftime("%Y-%m-%d %H:%M:%S")
    return values.cast(pl.String)
