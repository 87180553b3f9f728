"""Fields made from the timestamp, and files to score of which only the fields matter."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from adasparse_cli.errors import UsageError
from adasparse_cli.scoring.new_files import EncodedFile, encode_rows
from tests.data_prep.tables import prepared, read, settings_of, written

NOON = 1704103200  # Monday, 2024-01-01 10:00:00 UTC


def test_the_hour_is_derived_though_the_timestamp_is_named_hour(tmp_path: Path) -> None:
    frame, data = read(written(tmp_path, "y,place,hour", [f"1,p,{NOON}"]), "data.timestamp=hour")
    assert frame["hour"].to_list() == [10]
    assert [plan.name for plan in data.plans] == ["place", "hour", "weekday"]


def test_columns_named_as_derived_fields_give_way_and_are_named(tmp_path: Path) -> None:
    path = written(tmp_path, "y,place,hour,weekday,ts", [f"1,p,night,Sunday,{NOON}"])
    frame, data = read(path, "data.timestamp=ts")
    assert frame.select("hour", "weekday").rows() == [(10, 0)]
    assert [(finding.text, finding.advice) for finding in data.noticed()] == [
        ("hour: is made from ts; the column of that name is not read", "data.derived=[weekday] reads the column"),
        ("weekday: is made from ts; the column of that name is not read", "data.derived=[hour] reads the column"),
    ]
    frame, data = read(path, "data.timestamp=ts", "data.derived=[]")
    assert frame.select("hour", "weekday").rows() == [("night", "Sunday")]
    assert not data.noticed()


def test_a_derived_field_may_be_the_domain_or_be_left_out(tmp_path: Path) -> None:
    path = written(tmp_path, "y,place,ts", [f"1,p,{NOON}"])
    frame, _ = read(path, "data.timestamp=ts", "data.domain=[hour]", "data.roles={weekday: ignored}")
    assert frame["hour"].to_list() == [10]
    assert "weekday" not in frame.columns
    with pytest.raises(UsageError, match="minute cannot be made"):
        settings_of("data.derived=[minute]")


def test_columns_of_data_of_before_the_setting_stay_what_they_were(tmp_path: Path) -> None:
    path = written(tmp_path, "y,place,hour,ts", [f"1,p,night,{NOON}"])
    frame, _ = read(path, "data.timestamp=ts", "data.derived=null")
    assert frame.select("hour", "weekday").rows() == [("night", 0)]


WORDS = (
    "data.user=user", "data.propensity=chance", "data.timestamp=ts", "data.derived=[]", "data.roles={id: ignored}",
    "data.split=day",
)  # fmt: skip


@pytest.fixture
def scored(tmp_path: Path) -> object:
    lines = [f"{k % 2},p{k % 3},u{k % 5},0.5,{NOON + 86400 * (k % 4)},{k},{k}.5" for k in range(120)]
    manifest = prepared(tmp_path / "data", [written(tmp_path, "y,place,user,chance,ts,id,price", lines)], *WORDS)

    def score(header: str, lines: list[str]) -> list[EncodedFile]:
        new = [written(tmp_path, header, lines, "new.csv")]
        return list(encode_rows(tmp_path / "data", manifest, settings_of("data.min_count=1", *WORDS), new))

    return score


@pytest.mark.parametrize(
    ("header", "lines"),
    [
        ("y,place,user,price", [",p1,u1,2.5"] * 3),  # blank labels
        ("y,place,user,price", ["1,p1,u1,2.5", ",p1,u1,2.5", "?,p1,u1,2.5"]),  # some are
        ("place,user,price,note", ["p1,u1,2.5,3.5", "p1,u1,2.5,3.5", "p1,u1,2.5,hello"]),  # a column nobody asked for
        ("place,user,price,chance,ts,id", ["p1,u1,2.5,,,", "p1,u1,2.5,7,never,x", "p1,u1,2.5,0,1,y"]),
    ],
)
def test_rows_are_not_judged_by_what_a_score_does_not_need(scored, header: str, lines: list[str]) -> None:  # type: ignore[no-untyped-def]
    (block,) = scored(header, lines)
    assert not block.rejects
    assert block.frame.height == 3
    assert block.frame.select("place", "user", "price").n_unique() == 1
    assert (block.frame["user"] > 0).all()


def test_a_user_who_is_not_there_is_missing(scored) -> None:  # type: ignore[no-untyped-def]
    (absent,) = scored("place,price", ["p1,2.5"])
    (blank,) = scored("place,user,price", ["p1,,2.5"])
    assert absent.frame.equals(blank.frame)
    assert not [*absent.rejects, *blank.rejects]


def test_a_value_that_a_score_needs_is_still_checked(scored) -> None:  # type: ignore[no-untyped-def]
    (block,) = scored("place,user,price", ["p1,u1,2.5", "p1,u1,cheap"])
    assert [(reject.line, reject.column) for reject in block.rejects] == [(3, "price")]
    assert isinstance(block.frame, pl.DataFrame)
    assert block.frame.height == 1
