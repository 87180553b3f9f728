"""Anyone's table: CSV, TSV, Parquet or NDJSON (text also packed as gzip, zip, bzip2, xz or zstd), without writing code.

Named in YAML or on the command line are the label, the fields that make the domain, and whatever else is
known; the rest is inferred from the first rows and shown. Every format is read as text first, so the same
table gives the same ids from each of them. Labels are 0, 1, true or false.

Where a timestamp is given, `hour` and `weekday` are derived from it, in the zone `utc_offset_hours`. The user
column groups the user metrics and is a categorical field like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Self

import polars as pl

from adasparse_cli.choices import Between, FieldKind, FieldRole
from adasparse_cli.data_prep.tabular_formats import Table
from adasparse_cli.data_prep.tabular_open import opened_table
from adasparse_cli.errors import DataError, UsageError
from adasparse_cli.prep.hashing import row_hashes
from adasparse_cli.prep.raw_files import source_names
from adasparse_cli.prep.recipe import (
    DAY,
    DOMAIN_FIELD,
    LABEL,
    LINE,
    PROPENSITY,
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
from adasparse_cli.schema import Field

MOSTLY = 0.95
LISTS = 0.3  # share of a column's values that have a separator, from which on it may hold lists
_SEPARATORS = ("|", ";", ",")
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
        propensity: column of the chance, in (0, 1], with which the logging system showed the row; null where it is not known.
            It is no feature; `analyze abtest` weighs rows by it. Unlabelled files may lack it.
        roles: role by column, where it is not `domain_agnostic`; `ignored` leaves a column out.
        kinds: kind by column, where the inferred one is wrong.
        separator: of a text file; null to find it in the header.
        list_separator: between the values of a multi-valued field.
        quoted_newlines: whether a text file's fields in double quotes may hold line breaks. Reading is slower then; a
            rejected row is named by the first line of its record.
        missing: texts that mean "missing".
        identifier_share: a column of text or whole numbers with more distinct values per row (0–1) is left out.
    """

    label: str
    timestamp: str | None
    utc_offset_hours: Annotated[float, Between(-24, 24)]
    user: str | None
    propensity: str | None
    roles: Mapping[str, FieldRole]
    kinds: Mapping[str, FieldKind]
    separator: str | None
    list_separator: str
    quoted_newlines: bool
    missing: tuple[str, ...]
    identifier_share: Annotated[float, Between(0, 1)]

    def reads(self, column: str) -> bool:
        """Whether a column's values are needed; those of other columns count only to tell equal rows apart."""
        return self.roles.get(column) is not FieldRole.ignored

    def as_prepared(self, fields: Sequence[Field]) -> Self:
        """With the kind of every field as it was prepared; a row's chance to be shown is of no use for its score."""
        kinds = {field.name: field.kind for field in fields if not (self.domain_id and field.name == DOMAIN_FIELD)}
        return replace(self, kinds=kinds, propensity=None)


def sources(settings: DataSettings, raw: list[Path], folder: Path, progress: Progress) -> list[Path]:
    """The files, as given."""
    if not raw:
        raise UsageError("no raw files are named", hint="adasparse prep data=tabular raw=FILE data.label=COLUMN …")
    return raw


def read(settings: Settings, sources: list[Path]) -> RawData:
    """Open the files, infer what was not said, and say what was inferred."""
    rejects: list[Reject] = []
    names = source_names(sources)
    tables = [opened_table(path, name, settings, rejects) for path, name in zip(sources, names, strict=True)]
    first = tables[0]
    for table in tables[1:]:
        optional = () if settings.label in table.columns else (settings.label, settings.propensity)
        lacking = [name for name in first.columns if name not in (*table.columns, *optional)]
        if lacking:
            raise DataError(
                f"{table.path}: lacks the column {lacking[0]}, which {first.name} has",
                hint="files that are prepared together need the same columns (the label may be absent)",
            )
    for table in tables:
        _require_columns(settings, table)
    plans, notes = _planned(settings, first)
    return RawData(
        plans=tuple(plans),
        domain=settings.domain,
        label=settings.label,
        frames=_frames(settings, tables, plans, rejects),
        rejects=rejects,
        labelled=tuple(settings.label in table.columns for table in tables),
        consumed=lambda: sum(table.consumed() for table in tables),
        notes=(*(note for table in tables for note in table.notes), *notes),
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
    derived = ("hour", "weekday") if settings.timestamp else ()
    for key, names in wanted.items():
        for name in names:
            if name not in table.columns and name not in derived:
                raise DataError(
                    f"{table.path}:1: there is no column {name}, which {key} names",
                    hint=f"did you mean {nearest_names(name, table.columns)}?",
                )


def _planned(settings: Settings, table: Table) -> tuple[list[FieldPlan], list[str]]:
    """The fields, and one line for each thing inferred."""
    aware = settings.domain_aware or settings.domain
    special = {settings.label, settings.timestamp, settings.propensity}
    plans, notes = [], []
    if settings.label not in table.columns:
        notes.append(f"{table.path.name} has no column {settings.label}: its rows are unlabelled")
    for name in table.columns:
        role = settings.roles.get(name)
        if name in special or role in (FieldRole.ignored, FieldRole.label, FieldRole.timestamp):
            continue
        values = _with_nulls(table.sample, name, settings)
        separator = None if name in (*settings.kinds, *settings.domain) else _separator(values.drop_nulls())
        if separator:
            own = "" if separator == settings.list_separator else f" 'data.list_separator=\"{separator}\"'"
            notes.append(f"{name}: looks like lists; 'data.kinds={{{name}: multi_valued}}'{own} takes them apart")
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


def _separator(texts: pl.Series) -> str | None:
    """What stands between the values of lists, where texts look like lists: they have fewer different parts than wholes."""
    for separator in _SEPARATORS:
        parted = int(texts.str.contains(separator, literal=True).sum())
        if (
            parted
            and parted >= LISTS * len(texts)
            and texts.str.split(separator).explode().n_unique() < texts.n_unique()
        ):
            return separator
    return None


def _splitter(separator: str) -> Callable[[pl.Series], pl.Series]:
    return lambda texts: texts.str.split(separator).list.eval(pl.element().filter(pl.element() != ""))


def _with_nulls(frame: pl.DataFrame, name: str, settings: Settings) -> pl.Series:
    column = frame[name]
    return column.set(column.is_in(list(settings.missing)), None)


def _frames(
    settings: Settings, tables: list[Table], plans: list[FieldPlan], rejects: list[Reject]
) -> Iterator[pl.DataFrame]:
    for index, table in enumerate(tables):
        for frame in table.frames():
            rows = _features(settings, table.name, index, frame, plans, rejects)
            if rows.height:
                yield rows


def _features(
    settings: Settings, source: str, index: int, frame: pl.DataFrame, plans: list[FieldPlan], rejects: list[Reject]
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
    if settings.propensity:
        chances = pl.Series([None], dtype=pl.Float64).new_from_index(0, frame.height)
        if settings.propensity in frame.columns:
            chances = frame[settings.propensity].cast(pl.Float64, strict=False)
            check(~((chances > 0) & (chances <= 1)).fill_null(False), settings.propensity, "is no chance in (0, 1]")
        columns.append(chances.alias(PROPENSITY))
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
