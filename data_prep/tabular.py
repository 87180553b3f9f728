"""Anyone's table: CSV, TSV, Parquet or NDJSON (text also as .gz or .zip), without writing code.

Named in YAML or on the command line are the label, the fields that make the domain, and whatever else is
known; the rest is inferred from the first rows and shown. Every format is read as text first, so the same
table gives the same ids from each of them. Labels are 0, 1, true or false.

Where a timestamp is given, `hour` and `weekday` are derived from it, in the zone `utc_offset_hours`. The user
column groups the user metrics and is a categorical field like any other.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import polars as pl

from adasparse_cli.choices import Between, FieldKind, FieldRole
from adasparse_cli.errors import DataError, UsageError
from adasparse_cli.prep.hashing import row_hashes
from adasparse_cli.prep.lines import TextFile
from adasparse_cli.prep.recipe import (
    DAY,
    LABEL,
    LINE,
    ROW_HASH,
    SOURCE,
    TIMESTAMP,
    USER,
    DataSettings,
    FieldPlan,
    Progress,
    RawData,
    Reject,
    nearest_names,
)

SAMPLE_BYTES, SAMPLE_ROWS, PARQUET_ROWS = 4 << 20, 50_000, 250_000
MOSTLY = 0.95
_SEPARATORS = (",", "\t", ";", "|")
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_WHOLE = r"^[+-]?\d+$"
_DATES = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M", "%Y-%m-%d")


@dataclass(frozen=True, kw_only=True)
class Settings(DataSettings):
    """What a table's columns are.

    Args:
        label: the column to predict, 0 or 1.
        timestamp: column of unix seconds, unix milliseconds or ISO dates; null for none.
        utc_offset_hours: zone in which days and hours are read.
        user: column that names the user; null for none.
        roles: role by column, where it is not `domain_agnostic`; `ignored` leaves a column out.
        kinds: kind by column, where the inferred one is wrong.
        separator: of a text file; null to find it in the header.
        list_separator: between the values of a multi-valued field.
        missing: texts that mean "missing".
        identifier_share: a column of text or whole numbers with more distinct values per row (0–1) is left out.
    """

    label: str
    timestamp: str | None
    utc_offset_hours: Annotated[float, Between(-24, 24)]
    user: str | None
    roles: Mapping[str, FieldRole]
    kinds: Mapping[str, FieldKind]
    separator: str | None
    list_separator: str
    missing: tuple[str, ...]
    identifier_share: Annotated[float, Between(0, 1)]


@dataclass(frozen=True)
class _Table:
    """An opened file: its columns, its first rows, and all of its rows as frames of text with LINE."""

    path: Path
    columns: list[str]
    sample: pl.DataFrame
    frames: Callable[[], Iterator[pl.DataFrame]]
    consumed: Callable[[], int]


def sources(settings: DataSettings, raw: list[Path], folder: Path, progress: Progress) -> list[Path]:
    """The files, as given."""
    if not raw:
        raise UsageError("no raw files are named", hint="adasparse prep data=tabular raw=FILE data.label=COLUMN …")
    return raw


def read(settings: Settings, sources: list[Path]) -> RawData:
    """Open the files, infer what was not said, and say what was inferred."""
    rejects: list[Reject] = []
    tables = [_opened(path, settings, rejects) for path in sources]
    first = tables[0]
    for table in tables[1:]:
        lacking = [name for name in first.columns if name not in table.columns and name != settings.label]
        if lacking:
            raise DataError(
                f"{table.path}: lacks the column {lacking[0]}, which {first.path.name} has",
                hint="files that are prepared together need the same columns (the label may be absent)",
            )
    _require_columns(settings, first)
    plans, notes = _planned(settings, first)
    return RawData(
        plans=tuple(plans),
        domain=settings.domain,
        label=settings.label,
        frames=_frames(settings, tables, plans, rejects),
        rejects=rejects,
        labelled=tuple(settings.label in table.columns for table in tables),
        consumed=lambda: sum(table.consumed() for table in tables),
        notes=tuple(notes),
    )


def _opened(path: Path, settings: Settings, rejects: list[Reject]) -> _Table:
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in (".gz", ".zip")]
    suffix = suffixes[-1] if suffixes else ""
    if suffix in (".parquet", ".pq"):
        return _open_parquet(path, settings)
    if suffix in (".ndjson", ".jsonl"):
        return _open_ndjson(path, settings, rejects)
    return _open_text(path, settings, rejects, "\t" if suffix in (".tsv", ".tab") else None)


def _open_text(path: Path, settings: Settings, rejects: list[Reject], usual: str | None) -> _Table:
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
                yield _unquoted(block.data, block.lines.tolist(), source, columns, separator)
            else:
                text = pl.read_csv(
                    block.data,
                    has_header=False,
                    separator=separator,
                    quote_char=None,
                    schema=dict.fromkeys(columns, pl.String),
                    empty_string_is_null=False,
                )
                yield text.with_columns(pl.Series(LINE, block.lines, dtype=pl.Int64))

    sample = next(frames(opened([]), SAMPLE_BYTES), pl.DataFrame(schema=dict.fromkeys(columns, pl.String)))
    return _Table(path, columns, sample, lambda: frames(file), lambda: file.consumed)


def _unquoted(data: bytes, lines: list[int], file: TextFile, columns: list[str], separator: str) -> pl.DataFrame:
    """Lines with quotes, one by one: a quote that is not closed spoils its own line and no other."""
    rows, kept = [], []
    for line, text in zip(lines, data.decode("utf-8").split("\n"), strict=False):
        try:
            row = next(csv.reader([text], delimiter=separator, strict=True))
        except csv.Error:
            file.reject(line, "", text, "has a quote that does not close on its line, or closes too early")
            continue
        if len(row) == len(columns):
            rows.append(row)
            kept.append(line)
        else:
            many = "too many" if len(row) > len(columns) else "too few"
            file.reject(line, "", text, f"{many} columns: {len(row)} where the header has {len(columns)}")
    frame = pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row")
    return frame.with_columns(pl.Series(LINE, kept, dtype=pl.Int64))


def _open_ndjson(path: Path, settings: Settings, rejects: list[Reject]) -> _Table:
    def objects(source: TextFile, block_bytes: int) -> Iterator[list[tuple[int, dict[str, str | None]]]]:
        for block in source.blocks(block_bytes):
            found = []
            for line, text in zip(block.lines.tolist(), block.data.split(b"\n"), strict=False):
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

    return _Table(path, columns, frame(first), frames, lambda: file.consumed)


def _json_row(text: bytes, line: int, file: TextFile, list_separator: str) -> dict[str, str | None] | None:
    # numbers stay as they are written: an id never goes through a float
    try:
        row = json.loads(text, parse_float=str, parse_int=str)
    except ValueError:
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


def _open_parquet(path: Path, settings: Settings) -> _Table:
    try:
        scanned = pl.scan_parquet(path)
        schema = scanned.collect_schema()
        rows = int(scanned.select(pl.len()).collect().item())
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path} is no readable Parquet file: {error}", hint="get the file again") from None
    done = 0

    def text(start: int, number: int) -> pl.DataFrame:
        frame = scanned.slice(start, number).collect()
        columns = [
            frame[name].cast(pl.List(pl.String)).list.join(settings.list_separator)
            if isinstance(kind, pl.List)
            else frame[name].cast(pl.String)
            for name, kind in schema.items()
        ]
        # the first row of a table without header lines is line 2, as it would be in a text file
        return pl.DataFrame(columns).with_columns(pl.int_range(start + 2, start + 2 + frame.height).alias(LINE))

    def frames() -> Iterator[pl.DataFrame]:
        nonlocal done
        for start in range(0, rows, PARQUET_ROWS):
            yield text(start, PARQUET_ROWS)
            done = path.stat().st_size * min(start + PARQUET_ROWS, rows) // max(rows, 1)

    return _Table(path, list(schema), text(0, SAMPLE_ROWS), frames, lambda: done)


def _require_columns(settings: Settings, table: _Table) -> None:
    wanted = {
        "data.domain": list(settings.domain),
        "data.domain_aware": list(settings.domain_aware),
        "data.timestamp": [settings.timestamp] if settings.timestamp else [],
        "data.user": [settings.user] if settings.user else [],
        "data.roles": list(settings.roles),
        "data.kinds": list(settings.kinds),
    }
    derived = ("hour", "weekday") if settings.timestamp else ()
    for key, names in wanted.items():
        for name in names:
            if name not in table.columns and name not in derived:
                raise DataError(
                    f"{table.path}:1: {key} names {name}, which is no column",
                    hint=f"did you mean {nearest_names(name, table.columns)}?",
                )


def _planned(settings: Settings, table: _Table) -> tuple[list[FieldPlan], list[str]]:
    """The fields, and one line for each thing inferred."""
    aware = settings.domain_aware or settings.domain
    special = {settings.label, settings.timestamp}
    plans, notes = [], []
    if settings.label not in table.columns:
        notes.append(f"{table.path.name} has no column {settings.label}: its rows are unlabelled")
    for name in table.columns:
        role = settings.roles.get(name)
        if name in special or role in (FieldRole.ignored, FieldRole.label, FieldRole.timestamp):
            continue
        values = _with_nulls(table.sample, name, settings)
        kind, why = _inferred(name, values, settings, named=name in (*settings.domain, *aware, settings.user))
        if kind is None:
            notes.append(f"{name}: left out, {why}")
            continue
        chosen = (
            FieldRole.domain_aware if name in aware or role is FieldRole.domain_aware else FieldRole.domain_agnostic
        )
        parse = _splitter(settings.list_separator) if kind is FieldKind.multi_valued else None
        plans.append(FieldPlan(name=name, role=chosen, kind=kind, parse=parse))
        missing = values.null_count() / max(len(values), 1)
        notes.append(f"{name}: {kind} ({why}{f', {missing:.1%} missing' if missing else ''})")
    if settings.timestamp:
        names = [plan.name for plan in plans]
        for name in ("hour", "weekday"):
            if name not in names:
                role = FieldRole.domain_aware if name in aware else FieldRole.domain_agnostic
                plans.append(FieldPlan(name=name, role=role, kind=FieldKind.categorical))
                notes.append(f"{name}: categorical (from {settings.timestamp})")
    return plans, notes


def _inferred(name: str, values: pl.Series, settings: Settings, *, named: bool) -> tuple[FieldKind | None, str]:
    if name in settings.kinds:
        return settings.kinds[name], "as set"
    known = values.drop_nulls()
    distinct = known.n_unique()
    numbers = known.filter(known.str.contains(_NUMBER))
    # a few values that are no numbers are faults of their rows, not a sign that the column is text
    if len(known) and len(numbers) >= MOSTLY * len(known) and not numbers.str.contains(_WHOLE).all():
        # whole numbers written as 3.0 are levels, not magnitudes
        if (numbers.cast(pl.Float64) % 1 == 0).all():
            return FieldKind.categorical, f"{distinct} distinct whole numbers in the first {len(values)} rows"
        return FieldKind.numeric, "numbers with decimals"
    if not named and len(known) >= 1000 and distinct > settings.identifier_share * len(known):
        return None, f"nearly every row has a value of its own; data.kinds={{{name}: categorical}} keeps it"
    return FieldKind.categorical, f"{distinct} distinct in the first {len(values)} rows"


def _splitter(separator: str) -> Callable[[pl.Series], pl.Series]:
    return lambda texts: texts.str.split(separator).list.eval(pl.element().filter(pl.element() != ""))


def _with_nulls(frame: pl.DataFrame, name: str, settings: Settings) -> pl.Series:
    column = frame[name]
    return column.set(column.is_in(list(settings.missing)), None)


def _frames(
    settings: Settings, tables: list[_Table], plans: list[FieldPlan], rejects: list[Reject]
) -> Iterator[pl.DataFrame]:
    for index, table in enumerate(tables):
        for frame in table.frames():
            rows = _features(settings, table.path, index, frame, plans, rejects)
            if rows.height:
                yield rows


def _features(
    settings: Settings, path: Path, index: int, frame: pl.DataFrame, plans: list[FieldPlan], rejects: list[Reject]
) -> pl.DataFrame:
    """Text to values; a row with a value that cannot be is rejected, by its first fault."""
    good = pl.Series([True]).new_from_index(0, frame.height)

    def check(bad: pl.Series, column: str, reason: str) -> None:
        nonlocal good
        bad = bad.fill_null(False) & good
        for line, value in zip(frame[LINE].filter(bad), frame[column].filter(bad), strict=True):
            rejects.append(
                Reject(source=path.name, line=line, column=column, value=str(value or "")[:80], reason=reason)
            )
        good = good & ~bad

    columns = [
        frame[LINE],
        pl.Series(SOURCE, [index], dtype=pl.Int32).new_from_index(0, frame.height),
        pl.Series(ROW_HASH, row_hashes(frame.drop(LINE))),
    ]
    if settings.label in frame.columns:
        label = _label(frame[settings.label])
        check(label.is_null(), settings.label, "is neither 0 nor 1")
    else:
        label = pl.Series([None], dtype=pl.Int8).new_from_index(0, frame.height)
    columns.append(label.alias(LABEL))
    seconds = pl.Series([None], dtype=pl.Int64).new_from_index(0, frame.height)
    if settings.timestamp:
        seconds = _seconds(frame[settings.timestamp])
        check(seconds.is_null(), settings.timestamp, "is no point in time")
        columns.append(seconds.alias(TIMESTAMP))
    local = seconds + int(settings.utc_offset_hours * 3600)
    columns.append((local // 86400).cast(pl.Int32).alias(DAY))
    if settings.user:
        columns.append(_with_nulls(frame, settings.user, settings).alias(USER))
    derived = {"hour": local % 86400 // 3600, "weekday": (local // 86400 + 3) % 7}
    for plan in plans:
        if plan.name not in frame.columns:
            columns.append(derived[plan.name].alias(plan.name))
            continue
        values = _with_nulls(frame, plan.name, settings)
        if plan.kind is FieldKind.numeric:
            numbers = values.cast(pl.Float64, strict=False)
            check(values.is_not_null() & ~numbers.is_finite().fill_null(False), plan.name, "is no number")
            values = numbers
        columns.append(values.alias(plan.name))
    return pl.DataFrame(columns).filter(good)


def _label(texts: pl.Series) -> pl.Series:
    spelled = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}
    return texts.str.to_lowercase().replace_strict(spelled, default=None, return_dtype=pl.Int8)


def _seconds(texts: pl.Series) -> pl.Series:
    """Unix seconds from seconds, milliseconds or ISO dates (which are read in UTC)."""
    numbers = texts.cast(pl.Int64, strict=False)
    # as seconds, 10¹¹ lies in the year 5138; as milliseconds, in 1973
    found = pl.select(pl.when(numbers.abs() >= 100_000_000_000).then(numbers // 1000).otherwise(numbers)).to_series()
    if found.null_count():
        dates = [texts.str.to_datetime(form, strict=False, time_unit="ms").dt.epoch("s") for form in _DATES]
        found = pl.select(pl.coalesce(found, *dates)).to_series()
    return found
