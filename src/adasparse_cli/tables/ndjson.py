"""NDJSON tables: one object per line. Each bad line is rejected with its line number."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from adasparse_cli.errors import DataError
from adasparse_cli.prep.recipe import LINE
from adasparse_cli.raw.lines import TextFile
from adasparse_cli.raw.rejected import Reject, examples
from adasparse_cli.raw.shards import Shard, surveyed
from adasparse_cli.raw.unique_keys import RepeatedKeyError, unique_keys
from adasparse_cli.tables.formats import FormatSettings, Table, usable_columns

SAMPLE_BYTES, BLOCK_BYTES = 4 << 20, 32 << 20
Row = dict[str, str | None]


def open_ndjson(path: Path, name: str, settings: FormatSettings, rejects: list[Reject]) -> Table:
    """Open a file with one JSON object per line. Its columns are the keys of the first rows.

    Raises:
        DataError: the first lines contain no object, or a key cannot be used.
    """

    def blocks(source: TextFile, block_bytes: int, shard: Shard | None = None) -> Iterator[list[tuple[int, Row]]]:
        for block in source.blocks(block_bytes, shard):
            texts = zip(block.numbers.tolist(), block.data.split(b"\n"), strict=False)
            found = ((line, _row(text, line, source, settings)) for line, text in texts)
            yield [(line, row) for line, row in found if row is not None]

    faults: list[Reject] = []
    first = next(filter(None, blocks(TextFile(path, None, faults, name=name), SAMPLE_BYTES)), [])
    keys = list(dict.fromkeys(key for _, row in first for key in row))
    if not keys:
        raise DataError(
            f"{path} has no line with a JSON object: {examples(faults)}",
            hint='each line must be an object, for example {"clicked": 1, …}; jq -c . FILE > NEW converts a file',
        )
    columns = usable_columns(f"{path}:1", keys, settings)
    file, known = TextFile(path, None, rejects, name=name), set(keys)

    def frame(found: list[tuple[int, Row]]) -> pl.DataFrame:
        kept = []
        for line, row in found:
            strange = [key for key in row if key not in known and settings.reads(key)]
            if strange:
                file.reject(line, strange[0], row[strange[0]] or "", "is a key that the first rows do not have")
            else:
                kept.append((line, row))
        data = {key: pl.Series(key, [row.get(key) for _, row in kept], dtype=pl.String) for key in columns.kept}
        return pl.DataFrame({**data, LINE: pl.Series([line for line, _ in kept], dtype=pl.Int64)})

    def frames(shard: Shard | None = None) -> Iterator[pl.DataFrame]:
        for found in blocks(file, BLOCK_BYTES, shard):
            yield frame(found)

    return Table(
        path=path,
        name=name,
        columns=columns.named,
        first=lambda: frame(first),
        frames=frames,
        consumed=lambda: file.consumed,
        survey=lambda source: surveyed(path, source, BLOCK_BYTES if file.divisible else None),
        part=frames,
        notes=columns.notes,
    )


def _row(text: bytes, line: int, file: TextFile, settings: FormatSettings) -> Row | None:
    """The values of a line as text, or None if it is rejected."""
    shown = text[:400].decode("utf-8", "replace")
    try:
        # numbers keep their spelling: an id is never converted to a float
        row = json.loads(text, parse_float=str, parse_int=str, object_pairs_hook=unique_keys)
    except RepeatedKeyError as error:
        file.reject(line, _printable(error.key), shown, "is a key that appears twice in the object")
        return None
    except (ValueError, RecursionError):
        file.reject(line, "", shown, "is not JSON")
        return None
    if not isinstance(row, dict):
        file.reject(line, "", shown, "is not a JSON object")
        return None
    plain: Row = {}
    for key, value in row.items():
        fault, found = _plain(value, settings.list_separator)
        if fault and not settings.reads(key):
            found = None
        elif fault:
            file.reject(line, _printable(key), json.dumps(value)[:80], fault)
            return None
        plain[key] = found
    # in valid UTF-8, only an escape can produce such a character
    if b"\\u" in text:
        for key, known in plain.items():
            if fault := _unusable(key) or _unusable(known or ""):
                file.reject(line, _printable(key), shown, fault)
                return None
    return plain


def _plain(value: Any, list_separator: str) -> tuple[str | None, str | None]:
    """The error in a value, if any, and the value as text."""
    if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(one, (list, dict)) for one in value)):
        return "is nested", None
    if not isinstance(value, list):
        return None, _text(value)
    parts = [_text(one) or "" for one in value]
    if any(list_separator in part for part in parts):
        return f"has the list separator {list_separator!r} in a value", None
    return None, list_separator.join(parts)


def _text(value: Any) -> str | None:
    return None if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _unusable(text: str) -> str | None:
    if "\0" in text:
        return "holds a NUL character"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "holds half of a surrogate pair, which is not a character"
    return None


def _printable(key: str) -> str:
    # half of a surrogate pair cannot be encoded
    return key.encode("utf-8", "backslashreplace").decode()
