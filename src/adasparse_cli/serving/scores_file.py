"""The file of scores: its format, from its name or a setting, and the columns to keep."""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from adasparse_cli.choices import ScoresFormat, nearest_names
from adasparse_cli.errors import DataError, UsageError
from adasparse_cli.raw.file_kind import TableKind
from adasparse_cli.raw.lines import TextFile
from adasparse_cli.serving.rows import PlainFile, json_object, require_unique

_OWN = ("source", "line", "domain", "label", "logit", "probability")
# Separators of recipes without a setting for it.
_SEPARATORS = {"iaac": " ", "twin": " "}


_BY_SUFFIX = {
    ".csv": ScoresFormat.csv,
    ".parquet": ScoresFormat.parquet,
    ".pq": ScoresFormat.parquet,
    ".ndjson": ScoresFormat.ndjson,
    ".jsonl": ScoresFormat.ndjson,
}


def scores_format(output: Path | None, asked: ScoresFormat | None) -> ScoresFormat:
    """The format from the file's name or from `asked`; CSV without both.

    Raises:
        UsageError: the name has an unknown suffix, or a different format than `asked`.
    """
    named = None if output is None else _BY_SUFFIX.get(output.suffix.lower())
    if output is not None and (output.is_dir() or (named is None and asked is None)):
        raise UsageError(
            f"{output} is not the name of a .csv, .parquet or .ndjson file", hint="such as --output scores.parquet"
        )
    if asked is not None and named not in (None, asked):
        raise UsageError(f"--format {asked} and the name {output} say different formats", hint="keep one of the two")
    return asked or named or ScoresFormat.csv


def kept_names(keep: Sequence[str]) -> dict[str, str]:
    """The names of kept columns in the output: unchanged, or with the prefix `input_` if the output has such a column.

    Raises:
        UsageError: a column is named twice.
    """
    if len(set(keep)) < len(keep):
        raise UsageError(f"--keep {','.join(keep)} names a column twice", hint="name each column once")
    return {name: f"input_{name}" if name in _OWN else name for name in keep}


def read_kept(path: Path, name: str, keep: Sequence[str], settings: Mapping[str, Any]) -> dict[int, tuple[Any, ...]]:
    """The values of some columns of a raw file, by the first line of each row.

    Text files give texts; NDJSON and Parquet give their values.

    Args:
        name: name of the file. settings: of the data.

    Raises:
        DataError: the file does not have a column.
    """
    separator = settings.get("separator") or _SEPARATORS.get(str(settings.get("recipe")))
    file = PlainFile(path, name, (), separator, [])
    if file.kind is TableKind.parquet:
        return _of_parquet(path, keep)
    found = _of_text if file.kind is TableKind.text else _of_ndjson
    return dict(found(file, path, keep, settings))


def require_columns(path: Path, columns: Collection[str], keep: Sequence[str]) -> None:
    """Check that a file has the columns to keep.

    Raises:
        DataError: one is missing.
    """
    lacking = next((one for one in keep if one not in columns), None)
    if lacking is not None:
        raise DataError(
            f"{path}: no column {lacking}, which --keep names",
            hint=f"did you mean {nearest_names(lacking, sorted(columns))}?",
        )


def _of_text(
    file: PlainFile, path: Path, keep: Sequence[str], settings: Mapping[str, Any]
) -> Iterator[tuple[int, tuple[Any, ...]]]:
    separator = file.separator or ","
    text = TextFile(
        path,
        separator.encode(),
        [],
        quoted=True,
        quoted_newlines=bool(settings.get("quoted_newlines")),
        name=file.name,
    )
    require_columns(path, text.columns, keep)
    require_unique(path, text.columns, keep)
    places = [text.columns.index(one) for one in keep]
    for block in text.blocks():
        for line, row in zip(block.numbers.tolist(), block.texts(), strict=True):
            cells = next(csv.reader([row], delimiter=separator)) if '"' in row else row.split(separator)
            if len(cells) > max(places):
                yield line, tuple(cells[place] for place in places)


def _of_ndjson(
    file: PlainFile, path: Path, keep: Sequence[str], settings: Mapping[str, Any]
) -> Iterator[tuple[int, tuple[Any, ...]]]:
    text, first = TextFile(path, None, [], name=file.name), True
    for block in text.blocks():
        for line, row in zip(block.numbers.tolist(), block.texts(), strict=True):
            found = json_object(row)
            if not isinstance(found, dict):
                continue
            if first:
                require_columns(path, found.keys(), keep)
                first = False
            yield line, tuple(found.get(one) for one in keep)


def _of_parquet(path: Path, keep: Sequence[str]) -> dict[int, tuple[Any, ...]]:
    import polars as pl  # only for this format

    try:
        columns = pl.scan_parquet(path, glob=False, hive_partitioning=False).collect_schema().names()
        require_columns(path, columns, keep)
        rows = pl.read_parquet(path, columns=list(keep), glob=False, hive_partitioning=False).rows()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path} is not a readable Parquet file: {error}", hint="get the file again") from None
    return dict(enumerate(rows, start=2))  # the first row of a table without header line is line 2


def json_line(row: Mapping[str, Any]) -> str:
    """A row of scores as a line of NDJSON."""
    return json.dumps(row, ensure_ascii=False, default=str) + "\n"
