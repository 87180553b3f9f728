"""Times: one unit per column, ISO dates with all that may follow them, and no year that cannot be meant."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adasparse_cli.choices import TimeUnit
from adasparse_cli.data_prep import tabular
from adasparse_cli.data_prep.tabular_times import PER_SECOND, looks_like_times, seconds_of, unit_of
from adasparse_cli.errors import DataError
from adasparse_cli.prep.noticed import read_findings
from tests.data_prep.tables import prepared, read, settings_of, written

NOON = 1704103200  # 2024-01-01 10:00:00 UTC


@pytest.mark.parametrize(
    "text",
    [
        "1704103200", "1704103200.0", "1704103200.9", "1.7041032e9", "1704103200000", "1704103200000000",
        "1704103200000000000", "2024-01-01T10:00:00Z", "2024-01-01 10:00:00", "2024-01-01T10:00:00.999",
        "2024-01-01T10:00:00,5Z", "2024-01-01T12:00:00+02:00", "2024-01-01T12:00:00+0200", "2024-01-01 05:30:00-04:30",
        "2024-01-01T12:00:00.25+02", "2024-01-01T10:00", "2024-01-01 10:00:00 UTC", " 1704103200 ",
    ],
)  # fmt: skip
def test_a_time_is_the_same_moment_however_it_is_written(tmp_path: Path, text: str) -> None:
    frame, data = read(written(tmp_path, "y\tplace\tts", [f"1\tp\t{text}"], "a.tsv"), "data.timestamp=ts")
    assert not data.rejects
    assert frame["__timestamp"].to_list() == [NOON]
    assert frame["hour"].to_list() == [10]
    assert any(note.startswith("ts: timestamp of a.tsv") for note in data.notes)


@given(
    st.datetimes(datetime(1980, 1, 1), datetime(2099, 12, 31)).map(lambda moment: moment.replace(microsecond=0)),
    st.timezones(),
)
def test_iso_dates_are_the_moments_that_python_writes(moment: datetime, zone: object) -> None:
    """Truth: `datetime.isoformat`."""
    aware = moment.replace(tzinfo=zone)  # type: ignore[arg-type]
    if aware.utcoffset().total_seconds() % 60:  # type: ignore[union-attr]
        return  # local mean time, which ISO cannot write
    found, far = seconds_of(pl.Series([aware.isoformat()]), TimeUnit.auto, TimeUnit.s)
    assert found.to_list() == [int(aware.timestamp())]
    assert far.to_list() == [False]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_the_unit_is_of_the_column_not_of_the_value(tmp_path: Path, unit: str) -> None:
    """A stray value in another unit is rejected by name, not read in its own."""
    factor = PER_SECOND[TimeUnit(unit)]
    lines = [f"1,p,{(NOON + k) * factor}" for k in range(9)] + [f"1,p,{NOON * factor * 1000}"]
    frame, data = read(written(tmp_path, "y,place,ts", lines), "data.timestamp=ts")
    assert frame["__timestamp"].to_list() == [NOON + k for k in range(9)]
    (reject,) = data.rejects
    assert (reject.line, reject.column) == (11, "ts")
    assert f"data.timestamp_unit={unit}" in reject.reason
    assert any(f"({unit} since 1970, 2024-01-01" in note for note in data.notes)


def test_numbers_that_are_no_time_in_any_unit_are_refused_with_the_value_and_the_setting(tmp_path: Path) -> None:
    path = written(tmp_path, "y,place,ts", [f"1,p,{k}" for k in range(20180900, 20180930)])
    with pytest.raises(DataError, match=r"not a time between 1980 and 2100 in any unit.*20180915") as caught:
        read(path, "data.timestamp=ts")
    assert "data.timestamp_unit=s" in caught.value.hint
    frame, data = read(path, "data.timestamp=ts", "data.timestamp_unit=s")
    assert frame.height == 30
    assert not data.rejects


def test_the_year_55840_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "y,place,ts", [f"1,p,{NOON * 1000}"] * 5)
    frame, data = read(path, "data.timestamp=ts", "data.timestamp_unit=s")
    assert frame.is_empty()
    assert {reject.reason for reject in data.rejects} == {"is not of the years 1900 to 2200 (data.timestamp_unit=s)"}


def test_files_prepared_together_may_have_different_units(tmp_path: Path) -> None:
    paths = [written(tmp_path, "y,place,ts", [f"1,p,{NOON * factor}"], f"{factor}.csv") for factor in (1, 1000)]
    data = tabular.read(settings_of("data.timestamp=ts"), paths)
    assert pl.concat(list(data.frames))["__timestamp"].to_list() == [NOON, NOON]


def test_data_of_before_the_setting_are_read_as_they_were(tmp_path: Path) -> None:
    """Seconds and milliseconds, value by value, in any year."""
    lines = ["1,p,1000", f"1,p,{NOON}", f"1,p,{NOON * 1000}"]
    frame, data = read(written(tmp_path, "y,place,ts", lines), "data.timestamp=ts", "data.timestamp_unit=s_or_ms")
    assert frame["__timestamp"].to_list() == [1000, NOON, NOON]
    assert not data.rejects


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("ts", [str(NOON + k) for k in range(5)], TimeUnit.s),
        ("createdAt", [str((NOON + k) * 1000) for k in range(5)], TimeUnit.ms),
        ("x", ["2024-01-01", "2024-01-02"], TimeUnit.s),
        ("item", [str(NOON + k) for k in range(5)], None),  # an id may be such a number
        ("time_on_site", ["10", "20"], None),
        ("date", ["20240101"], None),
        ("sometimes", ["yes", "no"], None),
    ],
)
def test_columns_of_times_are_recognised_and_others_are_not(
    name: str, values: list[str], expected: TimeUnit | None
) -> None:
    assert looks_like_times(name, pl.Series(name, values)) is expected


@pytest.mark.parametrize("where", ["found", "named"])
def test_a_column_of_times_that_nobody_named_is_proposed(tmp_path: Path, where: str) -> None:
    lines = [f"{k % 2},p{k % 3},{NOON + 3600 * k}" for k in range(2000)]
    words = ["data.timestamp=when_at"] if where == "named" else []
    _, data = read(written(tmp_path, "y,place,when_at", lines), *words)
    proposed = [finding for finding in data.noticed() if "looks like times" in finding.text]
    assert len(proposed) == (where == "found")
    for finding in proposed:
        assert finding.severity == "warning"
        assert finding.text.startswith("when_at: looks like times (s since 1970, 2024-01-01 to 2024-03-24")
        assert finding.advice == "data.timestamp=when_at data.split=day"


def test_the_unit_of_no_numbers_is_of_no_matter() -> None:
    assert unit_of(Path("a"), "ts", pl.Series(["2024-01-01", None]), TimeUnit.auto) is TimeUnit.s


def test_one_row_of_the_year_2038_is_named_as_the_test_split_it_becomes(tmp_path: Path) -> None:
    lines = [f"{k % 2},p{k % 3},{NOON + 1800 * k}" for k in range(400)] + ["1,p1,2147472000"]
    manifest = prepared(
        tmp_path / "data", [written(tmp_path, "y,place,ts", lines)], "data.timestamp=ts", "data.split=day"
    )
    texts = [finding.text for finding in read_findings(tmp_path / "data", manifest) if finding.severity == "warning"]
    assert any("2038-01-19 has 1 (all of the test split)" in text for text in texts)
    assert "the test split has one class only: 1 positives in 1 rows" in texts
