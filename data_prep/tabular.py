"""Anyone's table: CSV, TSV, Parquet or NDJSON (text also packed as gzip, zip, bzip2, xz or zstd), without writing code.

Named in YAML or on the command line are the label, the fields that make the domain, and whatever else is
known; the rest is inferred from the first rows and shown. Every format is read as text first, so the same
table gives the same ids from each of them. Labels are 0, 1, true or false, unless `positive` names others.

Where a timestamp is given, `hour` and `weekday` are derived from it, in the zone `utc_offset_hours`. The user
column groups the user metrics and is a categorical field like any other.

What the columns are is in `tabular_fields`, times in `tabular_times`, labels in `tabular_labels`, spelling and
missing values in `tabular_values`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from adasparse_cli.choices import FieldKind, TimeUnit, nearest_names
from adasparse_cli.columns.hashing import row_hashes
from adasparse_cli.data_prep.joined_files import Names
from adasparse_cli.data_prep.tabular_fields import Columns, columns_of, known_values
from adasparse_cli.data_prep.tabular_labels import label_findings, labels_of
from adasparse_cli.data_prep.tabular_settings import DERIVED
from adasparse_cli.data_prep.tabular_settings import ScoringSettings as ScoringSettings
from adasparse_cli.data_prep.tabular_settings import Settings as Settings
from adasparse_cli.data_prep.tabular_times import described, far_reason, seconds_of, unit_of
from adasparse_cli.data_prep.tabular_values import Missing
from adasparse_cli.errors import DataError, UsageError
from adasparse_cli.prep.recipe import (
    DAY,
    LABEL,
    LINE,
    PROPENSITY,
    ROW_HASH,
    SOURCE,
    TIMESTAMP,
    USER,
    DataSettings,
    Finding,
    Progress,
    RawData,
    ShardRows,
)
from adasparse_cli.raw.raw_files import source_names
from adasparse_cli.raw.rejected import Reject
from adasparse_cli.raw.shards import Shard, Survey
from adasparse_cli.tables.formats import Table
from adasparse_cli.tables.opened import opened_table


def sources(settings: DataSettings, raw: list[Path], folder: Path, progress: Progress) -> list[Path]:
    """The files, as given."""
    if not raw:
        raise UsageError("no raw files are named", hint="adasparse prep data=tabular raw=FILE data.label=COLUMN …")
    return raw


def as_raw(frame: pl.DataFrame, folder: Path) -> Path:
    """A frame as a raw file of this recipe, in `folder`; its first row is line 2."""
    path = folder / "rows.parquet"
    frame.write_parquet(path)
    return path


def read(settings: Settings, sources: list[Path]) -> RawData:
    """Open the files, infer what was not said, and say what was inferred."""
    rejects: list[Reject] = []
    names = source_names(sources)
    tables = [opened_table(path, name, settings, rejects) for path, name in zip(sources, names, strict=True)]
    return dataclasses.replace(read_tables(settings, tables, rejects), test_sources=test_sources(settings, sources))


def test_sources(settings: Settings, sources: Sequence[Path]) -> frozenset[int]:
    """The places of the files whose rows are the test split, for `split=given`."""
    names = Names(patterns=settings.test_files)
    return frozenset(place for place, path in enumerate(sources) if names.values(path) is not None)


def read_tables(
    settings: Settings, tables: Sequence[Table], rejects: list[Reject], places: Sequence[int] | None = None
) -> RawData:
    """The rows of opened tables: infer what was not said, and say what was inferred.

    Args:
        rejects: rows that cannot be read are added here.
        places: of each table among the sources; None where the tables are the sources.
    """
    first = tables[0]
    for table in tables[1:]:
        optional = () if settings.label in table.columns else (settings.label, settings.propensity)
        optional = (*optional, settings.user) if isinstance(settings, ScoringSettings) else optional
        needed = settings.fields if isinstance(settings, ScoringSettings) else first.columns
        lacking = [name for name in first.columns if name in needed and name not in (*table.columns, *optional)]
        if lacking:
            raise DataError(
                f"{table.path}: lacks the column {lacking[0]}, which {first.name} has",
                hint="files that are prepared together need the same columns (the label may be absent)",
            )
    for table in tables:
        _require_columns(settings, table)
    meanings = _meanings(settings, tables)
    return RawData(
        plans=tuple(meanings.columns.plans),
        domain=settings.domain,
        label=settings.label,
        frames=_frames(settings, tables, places or range(len(tables)), meanings, rejects),
        rejects=rejects,
        labelled=tuple(settings.label in table.columns for table in tables),
        consumed=lambda: sum(table.consumed() for table in tables),
        notes=(*(note for table in tables for note in table.notes), *meanings.notes),
        noticed=lambda: (*meanings.findings, *meanings.missing.findings()),
        reader=_Reader(settings, tuple((table.path, table.name) for table in tables), meanings)
        if places is None
        else None,
    )


def _require_columns(settings: Settings, table: Table) -> None:
    wanted = {
        "data.domain": list(settings.domain),
        "data.domain_aware": list(settings.domain_aware),
        "data.timestamp": [settings.timestamp] if settings.timestamp else [],
        "data.user": [settings.user] if settings.user else [],
        "data.propensity": [settings.propensity] if settings.propensity and settings.label in table.columns else [],
        "data.roles": list(settings.roles),
        "data.kinds": list(settings.kinds),
    }
    if isinstance(settings, ScoringSettings):
        # a field that is not there is named by whoever needs it
        wanted = {"data.timestamp": wanted["data.timestamp"]}
    derived = DERIVED if settings.timestamp else ()
    for key, names in wanted.items():
        for name in names:
            if name not in table.columns and name not in derived:
                raise DataError(
                    f"{table.path}:1: no column {name}, which {key} names",
                    hint=f"did you mean {nearest_names(name, table.columns)}?",
                )


@dataclass(frozen=True, kw_only=True)
class _Meanings:
    """What the values of some tables mean: fields, the unit of each table's times, and missing texts as they are met."""

    columns: Columns
    units: Sequence[TimeUnit]
    missing: Missing
    notes: Sequence[str]
    findings: Sequence[Finding]


def _meanings(settings: Settings, tables: Sequence[Table]) -> _Meanings:
    scoring = isinstance(settings, ScoringSettings)
    columns = columns_of(settings, tables[0], settings.fields if isinstance(settings, ScoringSettings) else None)
    units, missing = [], Missing(settings.missing)
    notes, findings = list(columns.notes), list(columns.findings)
    for table in tables:
        unit = TimeUnit.s
        if settings.timestamp:
            texts = table.sample[settings.timestamp]
            unit = unit_of(table.path, settings.timestamp, texts, settings.timestamp_unit)
            what = described(texts, settings.timestamp_unit, unit)
            notes.append(f"{settings.timestamp}: timestamp of {table.name} ({what})")
        units.append(unit)
        if settings.label in table.columns and not scoring:
            labels = known_values(table.sample[settings.label], settings).drop_nulls()
            findings += label_findings(table.path, settings.label, labels, settings.positive, settings.max_rejected)
        for plan in columns.plans:
            if plan.name in table.columns and plan.kind is FieldKind.categorical:
                missing.look(table.sample[plan.name])
    return _Meanings(columns=columns, units=units, missing=missing, notes=notes, findings=findings)


@dataclass(frozen=True)
class _Reader:
    """Reads parts of tables; `files` are the path and the name of each."""

    settings: Settings
    files: tuple[tuple[Path, str], ...]
    meanings: _Meanings

    def survey(self, source: int) -> Survey:
        return opened_table(*self.files[source], self.settings, []).survey(source)

    def rows(self, shard: Shard) -> ShardRows:
        rejects: list[Reject] = []
        table = opened_table(*self.files[shard.source], self.settings, rejects)
        meanings = dataclasses.replace(self.meanings, missing=Missing(self.settings.missing))
        unit = meanings.units[shard.source]

        def frames() -> Iterator[pl.DataFrame]:
            for frame in table.part(shard):
                rows = _features(self.settings, table.name, shard.source, unit, frame, meanings, rejects)
                if rows.height:
                    yield rows

        return ShardRows(frames=frames(), rejects=rejects, noted=meanings.missing.met)

    def note(self, noted: Sequence[Any]) -> None:
        for met in noted:
            self.meanings.missing.add(met)


def _frames(
    settings: Settings, tables: Sequence[Table], places: Sequence[int], meanings: _Meanings, rejects: list[Reject]
) -> Iterator[pl.DataFrame]:
    for table, place, unit in zip(tables, places, meanings.units, strict=True):
        for frame in table.frames():
            rows = _features(settings, table.name, place, unit, frame, meanings, rejects)
            if rows.height:
                yield rows


def _features(
    settings: Settings,
    source: str,
    index: int,
    unit: TimeUnit,
    frame: pl.DataFrame,
    meanings: _Meanings,
    rejects: list[Reject],
) -> pl.DataFrame:
    """Text to values; a row with a value that cannot be is rejected, by its first fault."""
    good = pl.Series([True]).new_from_index(0, frame.height)

    def check(bad: pl.Series, column: str, reason: str) -> None:
        nonlocal good
        bad = bad.fill_null(False) & good
        for line, value in zip(frame[LINE].filter(bad), frame[column].filter(bad), strict=True):
            rejects.append(Reject(source=source, line=line, column=column, value=str(value or "")[:80], reason=reason))
        good = good & ~bad

    columns = [
        frame[LINE],
        pl.Series(SOURCE, [index], dtype=pl.Int32).new_from_index(0, frame.height),
        pl.Series(ROW_HASH, row_hashes(frame.drop(LINE))),
    ]
    if settings.label in frame.columns:
        label = labels_of(known_values(frame[settings.label], settings), settings.positive)
        if not isinstance(settings, ScoringSettings):
            check(label.is_null(), settings.label, "is missing" if settings.positive else "is neither 0 nor 1")
    else:
        label = pl.Series([None], dtype=pl.Int8).new_from_index(0, frame.height)
    columns.append(label.alias(LABEL))
    seconds = pl.Series([None], dtype=pl.Int64).new_from_index(0, frame.height)
    if settings.timestamp:
        seconds, far = seconds_of(frame[settings.timestamp], settings.timestamp_unit, unit)
        check(seconds.is_null(), settings.timestamp, "is no point in time")
        check(far, settings.timestamp, far_reason(settings.timestamp_unit, unit))
        columns.append(seconds.alias(TIMESTAMP))
    local = seconds + int(settings.utc_offset_hours * 3600)
    columns.append((local // 86400).cast(pl.Int32).alias(DAY))
    if settings.propensity:
        chances = pl.Series([None], dtype=pl.Float64).new_from_index(0, frame.height)
        if settings.propensity in frame.columns:
            chances = frame[settings.propensity].cast(pl.Float64, strict=False)
            check(~((chances > 0) & (chances <= 1)).fill_null(False), settings.propensity, "is no chance in (0, 1]")
        columns.append(chances.alias(PROPENSITY))
    made = {"hour": local % 86400 // 3600, "weekday": (local // 86400 + 3) % 7}
    for plan in meanings.columns.plans:
        if plan.name in meanings.columns.derived:
            columns.append(made[plan.name].alias(plan.name))
            continue
        if plan.name in frame.columns:
            texts = frame[plan.name]
        else:
            texts = pl.Series(plan.name, [None], dtype=pl.String).new_from_index(0, frame.height)
        values = meanings.missing.normalised(texts, settings.spelling)
        if plan.kind is FieldKind.numeric:
            numbers = values.str.strip_chars().cast(pl.Float64, strict=False)
            check(values.is_not_null() & ~numbers.is_finite().fill_null(False), plan.name, "is no number")
            values = numbers
        columns.append(values.alias(plan.name))
    if settings.user and not isinstance(settings, ScoringSettings):
        columns.append(known_values(frame[settings.user], settings).alias(USER))
    return pl.DataFrame(columns).filter(good)
