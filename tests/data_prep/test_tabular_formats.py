"""What a table's file may be: types, names of columns, encodings, folders that give columns, line breaks in quotes."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from adasparse_cli.choices import FieldKind, FieldRole
from adasparse_cli.data_prep import tabular
from adasparse_cli.errors import DataError, TooManyRejectedError, UsageError
from adasparse_cli.prep.prepare import prepare
from adasparse_cli.prep.recipe import RawData, Silent
from adasparse_cli.prepared.tables import read_split
from adasparse_cli.raw.raw_files import raw_files
from adasparse_cli.schema import Manifest
from adasparse_cli.typed import plain
from tests.data_prep.test_tabular import settings_of


def read(path: Path, *words: str, **more: Any) -> tuple[RawData, pl.DataFrame]:
    data = tabular.read(replace(settings_of(*words), **more), [path])
    return data, pl.concat(list(data.frames))


def prepared(folder: Path, paths: list[Path], *words: str, **more: Any) -> Manifest:
    own = replace(settings_of("data.split=random", "data.min_count=1", *words), **more)
    return prepare(own, plain(own), paths, folder, Silent())


def csv_rows(number: int = 60) -> str:
    return "".join(f"{k % 2},p{k % 3},i{k % 5}\n" for k in range(number))


BASE = {"y": [0, 1, 1], "place": ["a", "b", None]}
NO_TEXT = {
    "struct": pl.Series([{"a": 1}, {"a": 2}, None]),
    "lists of lists": pl.Series([[[1]], [[2]], None]),
    "duration": pl.Series([timedelta(1), timedelta(2), None]),
    "array of structs": pl.Series([[{"a": 1}]] * 3),
}


@pytest.mark.parametrize("kind", NO_TEXT)
def test_a_column_without_plain_text_is_named_unless_it_is_ignored(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.parquet"
    pl.DataFrame({**BASE, "odd": NO_TEXT[kind]}).write_parquet(path)
    with pytest.raises(DataError, match=r"a\.parquet: the column odd is of type") as caught:
        read(path)
    assert "'data.roles={odd: ignored}'" in caught.value.hint
    _, frame = read(path, "data.roles={odd: ignored}")
    assert frame["place"].to_list() == ["a", "b", None]


def test_an_ignored_array_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    vectors = pl.Series([[0.5, 1.0]] * 3, dtype=pl.Array(pl.Float32, 2))
    pl.DataFrame({**BASE, "vector": vectors}).write_parquet(path)
    _, frame = read(path, "data.roles={vector: ignored}")
    assert "vector" not in frame.columns


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (pl.Series(["x", "y", None], dtype=pl.Categorical), ["x", "y", None]),
        (pl.Series(["x", "y", None], dtype=pl.Enum(["x", "y"])), ["x", "y", None]),
        (pl.Series([Decimal("1.50"), Decimal("2.00"), None]), ["1.50", "2", None]),
        (pl.Series([b"x", "é".encode(), None]), ["x", "é", None]),
        (pl.Series([date(2018, 9, 18), None, None]), ["2018-09-18", None, None]),
        (pl.Series([time(1, 2, 3), None, None]), ["01:02:03", None, None]),
        (pl.Series([datetime(2018, 9, 18), None, None]), ["2018-09-18 00:00:00", None, None]),
        (pl.Series([2**63 + 1, 0, None], dtype=pl.UInt64), ["9223372036854775809", "0", None]),
        (pl.Series([["a", "b"], ["c"], None]), ["a|b", "c", None]),
        (pl.Series([[1, 2], [3, 4], None], dtype=pl.Array(pl.Int64, 2)), ["1|2", "3|4", None]),
        (pl.Series([None, None, None]), [None, None, None]),
    ],
)
def test_columns_of_parquet_are_read_as_their_text(tmp_path: Path, values: pl.Series, texts: list[str | None]) -> None:
    path = tmp_path / "a.parquet"
    pl.DataFrame({**BASE, "odd": values}).write_parquet(path)
    data, frame = read(path, "data.kinds={odd: categorical}")
    assert frame["odd"].to_list() == texts
    assert not data.rejects


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (pl.Series([b"x", b"\xff", b"y"]), "is not text in UTF-8"),
        (pl.Series([["a"], ["b|c"], ["d"]]), "has the list separator '|' in a value"),
        (pl.Series(["x", "a\0b", "y"]), "holds a NUL character"),
    ],
)
def test_a_value_of_parquet_that_is_no_text_is_rejected_by_its_row(
    tmp_path: Path, values: pl.Series, reason: str
) -> None:
    path = tmp_path / "a.parquet"
    pl.DataFrame({**BASE, "odd": values}).write_parquet(path)
    data, frame = read(path, "data.kinds={odd: categorical}")
    assert [(one.source, one.line, one.column, one.reason) for one in data.rejects] == [("a.parquet", 3, "odd", reason)]
    assert frame["__line"].to_list() == [2, 4]


def test_columns_without_a_name_are_named_and_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(",y,place,\n0,1,a,x\n1,0,b,z\n")
    data, frame = read(path)
    assert [note for note in data.notes if "no name" in note] == [f"{path}:1: column 1, 4 has no name and is ignored"]
    assert [plan.name for plan in data.plans] == ["place"]
    assert frame["place"].to_list() == ["a", "b"]


@pytest.mark.parametrize("name", ["__label", "__line", "__split", "__condition", "*", "^p.*$"])
@pytest.mark.parametrize("suffix", ["csv", "parquet", "ndjson"])
def test_a_name_that_stands_for_something_else_is_refused_or_ignored(tmp_path: Path, name: str, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    rows = [{"y": k % 2, "place": f"p{k % 3}", name: k} for k in range(60)]
    if suffix == "csv":
        path.write_text(f"y,place,{name}\n" + "".join(f"{row['y']},{row['place']},{row[name]}\n" for row in rows))
    elif suffix == "parquet":
        pl.DataFrame(rows).write_parquet(path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match="has a name that adasparse reserves"):
        read(path)
    data, frame = read(path, roles={name: FieldRole.ignored})
    assert frame.height == 60
    assert [plan.name for plan in data.plans] == ["place"]


USED_INSIDE = (
    "row", "rows", "bag", "values", "zeros", "uses", "len", "count", "value", "id", "ids", "literal", "index", "domain",
    "label", "line", "source", "user", "split", "positives", "train_rows", "probability", "logit", "text", "hash", "score",
    "lower", "upper", "field", "lines", "name", "__index_level_0__", "__0", "a.b", "",
)  # fmt: skip


def test_columns_may_have_the_names_of_columns_inside(tmp_path: Path) -> None:
    """As fields, as the domain, as lists, and where duplicates are dropped."""
    path = tmp_path / "a.csv"
    lines = [f"{k % 2},p{k % 3}," + ",".join(f"v{k % (j + 2)}" for j in range(len(USED_INSIDE))) for k in range(90)]
    path.write_text("\n".join([",".join(["y", "place", *USED_INSIDE]), *lines, *lines[:7]]) + "\n")
    names = [name for name in USED_INSIDE if name]
    kinds = {name: FieldKind.multi_valued if k % 2 else FieldKind.categorical for k, name in enumerate(names)}
    domain = tuple(names[::2])
    manifest = prepared(tmp_path / "data", [path], "data.duplicates=drop", kinds=kinds, domain=domain)
    assert {field.name for field in manifest.fields} == {"place", "domain_id", *names}
    assert manifest.duplicates == 7
    assert sum(counts.rows for counts in manifest.splits.values()) == 90
    assert read_split(tmp_path / "data", manifest, "train").width > len(names)  # type: ignore[arg-type]


def test_fields_that_would_share_a_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("y,place,tags,tags.texts\n" + "".join(f"{k % 2},p,a|b,c|d\n" for k in range(60)))
    with pytest.raises(UsageError, match=r"tags\.texts"):
        prepared(tmp_path / "data", [path], kinds=dict.fromkeys(("tags", "tags.texts"), FieldKind.multi_valued))


def test_fields_that_would_share_a_column_of_the_domains_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("y,place,rows,rows (field)\n" + "".join(f"{k % 2},p,a,{k % 3}\n" for k in range(60)))
    with pytest.raises(
        UsageError, match=r"names rows, whose column 'rows \(field\)' is also the column of another field"
    ):
        prepared(tmp_path / "data", [path], domain=("rows", "rows (field)"))


def packed_book() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in ("[Content_Types].xml", "xl/workbook.xml"):
            archive.writestr(name, "<x/>")
    return file.getvalue()


FOREIGN: dict[str, tuple[str, bytes, str, str]] = {
    "JSON array": ("a.json", b'[{"y": 1, "place": "a"},\n {"y": 0, "place": "b"}]\n', "one JSON array", "jq -c"),
    "JSON array in pieces": ("a.ndjson", b'[\n {"y": 1}\n,\n {"y": 0}\n]\n', "one JSON array", "jq -c"),
    "JSON array packed": ("a.jsonl", b'\xef\xbb\xbf[{"y": 1}, {"y": 0}]', "one JSON array", "jq -c"),
    "Latin-1": ("a.csv", "y,größe\n1,a\n".encode("latin-1"), "Latin-1 or Windows-1252", "iconv -f WINDOWS-1252"),
    "UTF-16": ("a.csv", "y,place\n1,a\n".encode("utf-16"), "UTF-16LE", "iconv -f UTF-16LE"),
    "UTF-16BE without mark": ("a.csv", "y,place\n1,a\n".encode("utf-16-be"), "UTF-16BE", "iconv -f UTF-16BE"),
    "UTF-16 of NDJSON": ("a.ndjson", '{"y": 1}\n'.encode("utf-16-le"), "UTF-16LE", "iconv"),
    "old Mac": ("a.csv", b"y,place\r1,a\r0,b\r", "carriage return alone", "tr "),
    "workbook": ("a.xlsx", packed_book(), "Office document", "CSV"),
    "Feather": ("a.feather", b"ARROW1\0\0" + bytes(64), "Arrow", "Parquet"),
    "text named Parquet": ("a.parquet", b"y,place\n1,a\n", "not a readable Parquet", "again"),
    "tar": ("a.csv", b"a.csv" + bytes(252) + b"ustar" + bytes(250), "tar archive", "tar -xf"),
    "empty": ("a.csv", b"", "is empty", "again"),
    "open quote in the header": ("a.csv", b'y,"place\n1,a\n', "the header has a quote", "first line"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_what_is_no_table_is_named_with_what_to_do(tmp_path: Path, kind: str) -> None:
    name, content, message, hint = FOREIGN[kind]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read(path)
    assert str(path) in caught.value.message
    assert hint in caught.value.hint


def test_parquet_and_ndjson_are_known_by_their_content(tmp_path: Path) -> None:
    pl.DataFrame(BASE).write_parquet(tmp_path / "part-0")
    assert read(tmp_path / "part-0")[1].height == 3
    (tmp_path / "part-1").write_text('\ufeff{"y": 1, "place": "a"}\n{"y": 0, "place": "b"}\n')
    assert read(tmp_path / "part-1")[1].height == 2


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(DataError, match=r"nowhere\.csv does not exist"):
        read(Path("nowhere.csv"))


def test_folders_give_columns_and_each_source_a_name(tmp_path: Path) -> None:
    """`day` is a time, `site` a part of the domain; the rejects say which of the files of one name they are of."""
    for day in range(18, 22):
        folder = tmp_path / "logs" / f"day=2018-09-{day}" / f"site=s{day % 2}"
        folder.mkdir(parents=True)
        (folder / "part-0.csv").write_text(f"y,place,item\n{csv_rows()}2,p1,i1\n")
    (tmp_path / "logs" / "_SUCCESS").touch()
    words = ("data.domain=[place,site]", "data.timestamp=day", "data.split=day", "data.max_rejected=0.1")
    manifest = prepared(tmp_path / "data", list(raw_files(tmp_path / "logs")), *words)
    names = [f"day=2018-09-{day}/site=s{day % 2}/part-0.csv" for day in range(18, 22)]
    assert [source.name for source in manifest.sources] == names
    rejects = pl.read_parquet(tmp_path / "data" / "rejects.parquet")
    assert rejects.select("source", "line").rows() == [(name, 62) for name in names]
    assert manifest.splits["test"].rows == 60
    assert manifest.num_domains == 6


def test_a_column_of_the_file_overrides_the_folders(tmp_path: Path) -> None:
    path = tmp_path / "place=x" / "a.csv"
    path.parent.mkdir()
    path.write_text("y,place\n1,a\n0,b\n")
    data, frame = read(path)
    assert frame["place"].to_list() == ["a", "b"]
    assert any("place is read from the files, not from the folder's name" in note for note in data.notes)


def quoted(folder: Path) -> Path:
    path = folder / "a.csv"
    titles = ['"two\nlines"', '"said ""x""\n\n\nfour, lines"', "plain", '"one"']
    path.write_text("y,place,title\n" + "".join(f"{k % 2},p{k % 3},{titles[k % 4]}\n" for k in range(60)))
    return path


@pytest.mark.parametrize("block_bytes", [1 << 20, 50, 7])
def test_line_breaks_in_quotes_are_read_where_they_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int
) -> None:
    monkeypatch.setattr("adasparse_cli.tables.text.BLOCK_BYTES", block_bytes)
    path = quoted(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"\n0,p2,", b'\n0,"p2,', 1) + b"2,p0,bad\n")
    data, frame = read(path, "data.quoted_newlines=true")
    titles = ["two\nlines", 'said "x"\n\n\nfour, lines', "plain", "one"]
    expected = [titles[k % 4] for k in range(60) if k != 2]
    assert frame["title"].to_list() == expected
    # records have 2, 4, 1 and 1 lines
    first = [2 + 8 * (k // 4) + (0, 2, 6, 7)[k % 4] for k in range(60)]
    assert frame["__line"].to_list() == [line for k, line in enumerate(first) if k != 2]
    assert [(one.line, one.column) for one in data.rejects] == [(first[2], ""), (first[59] + 1, "y")]


def test_rows_lost_to_line_breaks_in_quotes_are_named_with_the_setting(tmp_path: Path) -> None:
    with pytest.raises(TooManyRejectedError) as caught:
        prepared(tmp_path / "data", [quoted(tmp_path)])
    assert "data.quoted_newlines=true" in caught.value.hint
    assert "a.csv:2: '0,p0,\"two' has a quote that does not close on its line" in caught.value.message
    notes: list[str] = []

    class Told(Silent):
        def note(self, line: str) -> None:
            notes.append(line)

    own = settings_of("data.split=random", "data.max_rejected=0.9")
    prepare(own, plain(own), [quoted(tmp_path)], tmp_path / "data", Told())
    assert any("data.quoted_newlines=true" in note for note in notes)
    assert prepared(tmp_path / "other", [quoted(tmp_path)], "data.quoted_newlines=true").rejected == {}


def test_where_no_row_can_be_read_the_error_shows_three(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("y,place\n,a\n,b\n,c\n1,d,e\n")
    with pytest.raises(DataError) as caught:
        prepared(tmp_path / "data", [path])
    assert "no readable row; 4 were rejected" in caught.value.message
    assert "a.csv:2: y '' is neither 0 nor 1" in caught.value.message
    assert "a.csv:5: '1,d,e' too many columns" in caught.value.message


def test_a_header_of_any_length_is_read(tmp_path: Path) -> None:
    names = [f"{'x' * 200}{k}" for k in range(500)]
    path = tmp_path / "a.csv"
    path.write_text(",".join(["y", "place", *names]) + "\n" + ",".join(["1", "a", *names]) + "\n")
    data, frame = read(path)
    assert len(data.plans) == 501
    assert frame.height == 1
