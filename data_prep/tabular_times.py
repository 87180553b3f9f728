"""Points in time of a table: numbers since 1970 in one unit per column, or ISO dates."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from adasparse_cli.choices import TimeUnit
from adasparse_cli.errors import DataError

PER_SECOND: Mapping[TimeUnit, int] = {
    TimeUnit.s: 1,
    TimeUnit.ms: 1_000,
    TimeUnit.us: 1_000_000,
    TimeUnit.ns: 1_000_000_000,
}
NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
# A number whose unit is found must be of these years, so that only one unit fits; other times only of the longer range.
_RECOGNISED, _ACCEPTED = (1980, 2100), (1900, 2200)
# A column that nobody named is proposed as times only in these years: ids are numbers, too.
_PROPOSED = (2000, 2050)
_TIME_NAME = re.compile(r"(^|_)(time|timestamp|ts|date|datetime|day|when|at|dt)(_|$)|time$|date$|stamp$", re.IGNORECASE)
_ISO = (
    r"^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2})(?::(\d{2})(?:[.,]\d+)?)?"
    r"\s*(?:[zZ]|UTC|([+-])(\d{2}):?(\d{2})?)?)?$"
)
_LARGEST = 1e15  # seconds beyond which a number is no time of any year
_OLD_MILLISECONDS = 100_000_000_000


def unit_of(path: Path, name: str, texts: pl.Series, setting: TimeUnit) -> TimeUnit:
    """The unit of a column's numbers, by their median where `setting` is auto.

    Raises:
        DataError: no unit makes the median a time that a log can have.
    """
    if setting is not TimeUnit.auto:
        return setting
    numbers = _floats(texts).drop_nulls().sort()
    if numbers.is_empty():
        return TimeUnit.s  # ISO dates have no unit
    median = float(numbers[len(numbers) // 2])
    unit = _fitting(median, _RECOGNISED)
    if unit is None:
        raise DataError(
            f"{path}: {name} is not a time between {_RECOGNISED[0]} and {_RECOGNISED[1]} in any unit: half of its numbers "
            f"are {median:.15g} or less",
            hint="data.timestamp_unit=s (or ms, us, ns) reads it in that unit; data.timestamp names another column",
        )
    return unit


def seconds_of(texts: pl.Series, setting: TimeUnit, unit: TimeUnit) -> tuple[pl.Series, pl.Series]:
    """Unix seconds, null where a text is no point in time; and where the year cannot be meant.

    ISO dates without an offset are in UTC.
    """
    texts = texts.str.strip_chars()
    numbers, floats = texts.cast(pl.Int64, strict=False), None
    if numbers.null_count() > texts.null_count():
        # 1.7e9 and 1700000000.0
        floats = _floats(texts.set(numbers.is_not_null(), None))
    if unit is TimeUnit.s_or_ms:
        old = pl.when(numbers.abs() >= _OLD_MILLISECONDS).then(numbers // 1000).otherwise(numbers)
        found = pl.select(old).to_series()
    else:
        found = numbers // PER_SECOND[unit]
        if floats is not None:
            whole = (floats / PER_SECOND[unit]).floor()
            found = _first_known(found, whole.set(whole.abs() > _LARGEST, None).cast(pl.Int64))
    iso = pl.Series([None], dtype=pl.Int64).new_from_index(0, len(texts))
    if found.null_count() > texts.null_count():
        iso = _iso_seconds(texts.set(found.is_not_null(), None))
    if unit is TimeUnit.s_or_ms:
        return _first_known(found, iso), pl.Series([False]).new_from_index(0, len(texts))
    far = ~_within(found, _RECOGNISED if setting is TimeUnit.auto else _ACCEPTED) | ~_within(iso, _ACCEPTED)
    return _first_known(found, iso), far.fill_null(False)


def far_reason(setting: TimeUnit, unit: TimeUnit) -> str:
    """Why a time whose year cannot be meant is rejected."""
    low, high = _RECOGNISED if setting is TimeUnit.auto else _ACCEPTED
    return f"is not of the years {low} to {high} (data.timestamp_unit={unit})"


def described(texts: pl.Series, setting: TimeUnit, unit: TimeUnit) -> str:
    """How the first rows' times are written, and their first and last day in UTC."""
    found, far = seconds_of(texts, setting, unit)
    found = found.filter(~far).drop_nulls()
    kind = f"{unit} since 1970" if _floats(texts).null_count() < len(texts) else "ISO dates"
    if found.is_empty():
        return kind
    first, last = (datetime.fromtimestamp(value, UTC).date() for value in (found.min(), found.max()))  # type: ignore[arg-type]
    return f"{kind}, {first} to {last} in the first {len(texts):,} rows"


def looks_like_times(name: str, known: pl.Series) -> TimeUnit | None:
    """The unit of a column that is likely to hold times: ISO dates, or numbers of recent years under a name for times."""
    if known.is_empty():
        return None
    iso = _iso_seconds(known)
    if iso.null_count() == 0:
        return TimeUnit.s if _within(iso, _ACCEPTED).all() else None
    numbers = _floats(known)
    # camelCase: createdAt
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)
    if numbers.null_count() or not _TIME_NAME.search(words):
        return None
    median = float(numbers.median() or 0.0)  # type: ignore[arg-type]
    return _fitting(median, _PROPOSED)


def _fitting(number: float, years: tuple[int, int]) -> TimeUnit | None:
    low, high = (_start_of(year) for year in years)
    return next((unit for unit, factor in PER_SECOND.items() if low <= number / factor < high), None)


def _start_of(year: int) -> int:
    return int(datetime(year, 1, 1, tzinfo=UTC).timestamp())


def _within(seconds: pl.Series, years: tuple[int, int]) -> pl.Series:
    return (seconds >= _start_of(years[0])) & (seconds < _start_of(years[1]))


def _floats(texts: pl.Series) -> pl.Series:
    numbers = texts.str.strip_chars().cast(pl.Float64, strict=False)
    return numbers.set(~numbers.is_finite().fill_null(False), None)


def _first_known(one: pl.Series, other: pl.Series) -> pl.Series:
    return pl.select(pl.coalesce(one, other)).to_series()


def _iso_seconds(texts: pl.Series) -> pl.Series:
    parts = texts.str.extract_groups(_ISO).struct.unnest()
    day, clock, second, sign, hours, minutes = (pl.col(name) for name in parts.columns)
    text = pl.concat_str(
        day, pl.lit(" "), clock.fill_null("00:00"), pl.lit(":"), second.fill_null("00")
    ).str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False, time_unit="ms")
    offset = hours.cast(pl.Int64) * 3600 + minutes.cast(pl.Int64).fill_null(0) * 60
    east = pl.when(sign == "-").then(-offset).otherwise(offset).fill_null(0)
    return parts.select((text.dt.epoch("s") - east).alias(texts.name)).to_series()
