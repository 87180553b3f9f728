"""A log with side tables, described by values. Truth: Python's own reading of the same rows."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adasparse_cli.config.compose import compose
from adasparse_cli.data_prep import joined
from adasparse_cli.data_prep.joined_files import Names, found_files
from adasparse_cli.data_prep.joined_forms import Form
from adasparse_cli.errors import DataError, UsageError
from adasparse_cli.prep.recipe import LABEL, LINE, RawData
from adasparse_cli.tables.text import _OneLine
from adasparse_cli.typed import typed
from tests.commands.typing_in import adasparse
from tests.data_prep.tables import read as read_tabular

SHOP = (
    "data=joined",
    "data.files=[views.csv]",
    "data.sides={users: {files: [users.csv], header: [], key: {user: user_id}, take: {age: age}}}",
    "data.label=y",
    "data.domain=[market]",
)


def settings_of(*words: str) -> joined.Settings:
    return typed(compose("prep", [*SHOP, *words])["data"], joined.Settings, "data")


def shop(folder: Path, views: list[str], users: list[str]) -> None:
    (folder / "views.csv").write_text("\n".join(["y,user,market", *views]) + "\n")
    (folder / "users.csv").write_text("\n".join(["user_id,age", *users]) + "\n")


def read(folder: Path, *words: str) -> tuple[pl.DataFrame, RawData]:
    settings = settings_of(*words)
    raw = joined.read(settings, list(joined.files(settings, [str(folder)])))
    frames = list(raw.frames)
    return pl.concat(frames) if frames else pl.DataFrame(), raw


def form(text: str, values: list[str | None]) -> list[str | None]:
    frame = pl.DataFrame({"a": values}, schema={"a": pl.String})
    return frame.select(Form.of(text).expression("|").alias("x"))["x"].to_list()


@given(st.lists(st.one_of(st.none(), st.integers(-99, 99).map(str), st.floats(-99, 99).map(str))), st.integers(-99, 99))
def test_a_comparison_is_the_one_of_numbers(values: list[str | None], bound: int) -> None:
    for sign, holds in ((">=", lambda one: float(one) >= bound), ("<=", lambda one: float(one) <= bound)):
        assert form(f"a {sign} {bound}", values) == [None if one is None else str(int(holds(one))) for one in values]


def test_what_is_no_number_or_no_time_stays_so_that_its_row_is_rejected_by_name() -> None:
    assert form("a >= 4", ["five", "nan", "", " 4 "]) == ["five", "nan", "", "1"]
    assert form("a as %y%m%d%H", ["14103023", "14103025", "x", None]) == ["2014-10-30 23:00:00", "14103025", "x", None]


@given(st.datetimes(datetime(1980, 1, 1), datetime(2100, 1, 1)))
def test_times_in_a_format_are_those_that_python_writes(moment: datetime) -> None:
    for format, kept in (
        ("%Y%m%d", "%Y-%m-%d 00:00:00"),
        ("%d.%m.%Y %H:%M:%S", "%Y-%m-%d %H:%M:%S"),
        ("%Y%m%d%H", "%Y-%m-%d %H:00:00"),
    ):
        assert form(f"a as {format}", [moment.strftime(format)]) == [moment.strftime(kept)]


WORD = st.text("ab_.1-", max_size=4)


@given(
    st.lists(st.tuples(st.sampled_from(["2", "20", "2_0", "12"]), WORD), max_size=8),
    st.sampled_from(["2", "20", "2_0", "12"]),
)
def test_a_field_of_packed_features_has_its_values_in_their_order(pairs: list[tuple[str, str]], wanted: str) -> None:
    packed = "\x01".join(f"{field}\x02{value}\x031.0" for field, value in pairs)
    values = [value for field, value in pairs if field == wanted]
    assert form(f"a[{wanted}]", [packed]) == ["|".join(values) if values else None]


def test_rows_get_the_columns_of_their_key_whole_numbers_with_decimals_included(tmp_path: Path) -> None:
    shop(tmp_path, ["1,7.0,a", "0,8,b", "1,9,a", "0,NA,b"], ["7,30", "8.0,40"])
    frame, raw = read(tmp_path)
    assert frame["age"].to_list() == ["30", "40", None, None]
    (finding,) = [one for one in raw.noticed() if one.text.startswith("users")]
    # a missing key is no key without a row
    assert "1 of 4 rows (25.0%) have no row there, by user" in finding.text
    assert raw.labelled == (True, False)


@pytest.mark.parametrize("users", [["7,30", "8,40", "7,31"], ["u7,30", "u8,40", "u7,31"]], ids=["numbers", "texts"])
def test_of_two_rows_with_one_key_the_first_counts_and_the_other_is_rejected(tmp_path: Path, users: list[str]) -> None:
    key = users[0].partition(",")[0]
    shop(tmp_path, [f"1,{key},a"] * 3, users)
    frame, raw = read(tmp_path)
    assert frame["age"].to_list() == ["30"] * 3
    (reject,) = raw.rejects
    assert (reject.source, reject.line, reject.column, reject.value) == ("users.csv", 4, "user_id", key)


def test_rows_that_are_left_out_are_counted_and_others_keep_their_lines(tmp_path: Path) -> None:
    shop(tmp_path, ["1,1,a", "1,,b", "0,2,a", "NA,1,a"], ["1,30", "2,40"])
    frame, raw = read(tmp_path, "data.needs=[user,y]", "data.only={market: [a], age: ['30']}")
    assert frame.select(LINE, LABEL).rows() == [(2, 1)]
    assert not raw.rejects
    said = [one.text for one in raw.noticed() if "left out" in one.text]
    assert said == [
        "1 row is left out: user is missing (data.needs)",
        "1 row is left out: y is missing (data.needs)",
        "1 row is left out: age is not 30 (data.only)",
    ]


def test_a_file_without_the_label_is_unlabelled(tmp_path: Path) -> None:
    shop(tmp_path, ["1,1,a"], ["1,30"])
    (tmp_path / "views.csv").write_text("user,market\n1,a\n")
    frame, raw = read(tmp_path, 'data.take={y: "y >= 1", market: market, user: user}', "data.needs=[y]")
    assert raw.labelled == (False, False)
    assert frame[LABEL].to_list() == [None]


def test_columns_of_two_tables_must_have_names_of_their_own(tmp_path: Path) -> None:
    shop(tmp_path, ["1,1,a"], ["1,30"])
    (tmp_path / "users.csv").write_text("user_id,market\n1,b\n")
    other = "data.sides={others: {files: [users.csv], header: [], key: {user: user_id}, take: {}}}"
    settings = typed(compose("prep", [*SHOP[:2], *SHOP[3:], other])["data"], joined.Settings, "data")
    with pytest.raises(UsageError, match=r"the column market is in the log and in others"):
        joined.read(settings, list(joined.files(settings, [str(tmp_path)])))
    with pytest.raises(UsageError, match=r"data.sides.users.take names market, which data.take has too"):
        settings_of("data.take={y: y, market: market}", "data.sides.users.take={market: age}")


def test_a_file_brings_those_beside_it_of_the_same_country(tmp_path: Path) -> None:
    kinds = {"log": Names(patterns=["{country}_item.csv"]), "users": Names(patterns=["{country}_user.csv"])}
    for name in ("nl_item.csv", "nl_user.csv", "us_item.csv.gz", "us_user.zip"):
        (tmp_path / name).touch()
    assert [path.name for path in found_files("x", kinds, [tmp_path / "us_item.csv.gz"])] == [
        "us_item.csv.gz",
        "us_user.zip",
    ]
    assert len(found_files("x", kinds, [tmp_path])) == 4
    with pytest.raises(UsageError, match="named twice"):
        found_files("x", kinds, [tmp_path, tmp_path / "nl_item.csv"])
    (tmp_path / "nl_user.csv.gz").touch()
    with pytest.raises(DataError, match=r"twice: .*nl_user.csv and .*nl_user.csv.gz"):
        found_files("x", kinds, [tmp_path])


def test_an_archive_is_answered_with_how_to_unpack_it(tmp_path: Path) -> None:
    (tmp_path / "ml-1m.zip").touch()
    (tmp_path / "KuaiRand-Pure.tar.gz").touch()
    said = adasparse(tmp_path, "prep", "data=movielens-1m", "raw=ml-1m.zip", code=3).stderr
    assert "unpack it (unzip ml-1m.zip) and name the folder; its files are ratings.dat, users.dat, movies.dat" in said
    said = adasparse(tmp_path, "prep", "data=kuairand-pure", "raw=KuaiRand-Pure.tar.gz", code=3).stderr
    assert "tar -xf KuaiRand-Pure.tar.gz" in said
    assert "no raw files are named" in adasparse(tmp_path, "prep", "data=movielens-1m", code=2).stderr
    assert "missing is not there" in adasparse(tmp_path, "prep", "data=movielens-1m", "raw=missing", code=3).stderr


def test_a_changed_side_table_makes_the_data_anew_and_a_changed_order_of_files_does_not(tmp_path: Path) -> None:
    shop(tmp_path, [f"{k % 2},{k % 5},{'ab'[k % 3 // 2]}" for k in range(300)], [f"{k},{20 + k}" for k in range(5)])
    words = ["prep", *SHOP, "data.name=mine"]
    first = adasparse(tmp_path, *words, "raw=[views.csv,users.csv]").stdout
    assert "up to date" in adasparse(tmp_path, *words, "raw=[users.csv,views.csv]").stderr
    shop(tmp_path, [f"{k % 2},{k % 5},{'ab'[k % 3 // 2]}" for k in range(300)], [f"{k},{30 + k}" for k in range(5)])
    assert "replacing data/mine" in adasparse(tmp_path, *words, "raw=[views.csv,users.csv]").stderr
    assert "prepared in" in first


@given(st.lists(st.text('a",\n ', min_size=1, max_size=9), max_size=6))
def test_one_reader_for_many_texts_reads_each_as_a_reader_of_its_own_does(texts: list[str]) -> None:
    """Rows with quotes are read one by one: an open quote takes no further row."""

    def row(reader: Iterator[list[str]]) -> list[str] | str:
        try:
            return next(reader)
        except csv.Error as error:
            return str(error)

    one = _OneLine()
    shared = csv.reader(one, strict=True)
    for text in texts:
        one.text = text
        assert row(shared) == row(csv.reader([text], strict=True))


def test_tables_without_a_header_in_latin_1_with_two_characters_between_columns(tmp_path: Path) -> None:
    """The settings are those of every table, not of logs with side tables alone."""
    lines = ["1::Café ::3", '0::ø: "x::4', "1::a::b::c", "0::z"]
    path = tmp_path / "a.dat.gz"
    path.write_bytes(gzip.compress("\r\n".join(lines).encode("latin-1")))
    words = ["data.header=[y,place,n]", "data.separator='::'", "data.encoding=latin-1"]
    frame, raw = read_tabular(path, *words)
    assert frame.select(LINE, LABEL, "place", "n").rows() == [(1, 1, "Café ", "3"), (2, 0, 'ø: "x', "4")]
    assert sorted((one.line, one.value, one.reason) for one in raw.rejects) == [
        (3, "1::a::b::c", "too many columns: 4 where 3 are expected"),
        (4, "0::z", "too few columns: 2 where 3 are expected"),
    ]
    with pytest.raises(DataError, match=r"a.dat.gz:1: 3 columns, where 2 are expected \(y, place\)"):
        read_tabular(path, "data.header=[y,place]", *words[1:])
    with pytest.raises(UsageError, match="is not a valid separator"):
        read_tabular(path, words[0], "data.separator='\"'", words[2])
