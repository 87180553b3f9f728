"""Anyone's table: one content, one result, whatever the format; and each bad row by its place."""

from __future__ import annotations

import csv
import gzip
import json
import shlex
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adasparse_cli.config.compose import compose
from adasparse_cli.data_prep import tabular
from adasparse_cli.errors import DataError, UsageError
from adasparse_cli.prep.inspect import inspect
from adasparse_cli.prep.prepare import prepare
from adasparse_cli.prep.recipe import Silent
from adasparse_cli.prepared.tables import read_domains, read_split
from adasparse_cli.schema import Manifest
from adasparse_cli.scoring.new_files import encode_rows
from adasparse_cli.tables import ndjson
from adasparse_cli.typed import plain, typed

REAL = Path(__file__).parents[3] / "shared" / "data"
needs_real = pytest.mark.skipif(not REAL.exists(), reason="the real tables are not at ../shared/data")


def settings_of(*words: str, data: str = "tabular") -> tabular.Settings:
    base = ["data.label=y", "data.domain=[place]"] if data == "tabular" else []
    return typed(compose("prep", [f"data={data}", *base, *words])["data"], tabular.Settings, "data")


def table(rows: int = 60) -> list[dict[str, Any]]:
    return [
        {
            "y": k % 3 == 0,
            "place": f"p{k % 4}",
            "item": 10**18 + k % 5,
            "price": k / 8,
            "tags": "a|b" if k % 2 else "c",
            "user": f"u{k % 9}",
            "ts": 1537200000 + 86400 * (k % 4),
        }
        for k in range(rows)
    ]


def written(folder: Path, name: str, rows: list[dict[str, Any]]) -> Path:
    path = folder / name
    texts = [
        {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in row.items()}
        for row in rows
    ]
    if ".ndjson" in name:
        content = "\n".join(json.dumps(row) for row in rows) + "\n"
    elif ".parquet" in name:
        pl.DataFrame(rows).write_parquet(path)
        return path
    else:
        separator = "\t" if ".tsv" in name else ","
        content = "\n".join([separator.join(rows[0]), *(separator.join(row.values()) for row in texts)]) + "\n"
    path.write_bytes(gzip.compress(content.encode()) if name.endswith(".gz") else content.encode())
    return path


def prepared(folder: Path, path: Path, *words: str) -> Manifest:
    own = settings_of("data.user=user", "data.timestamp=ts", "data.kinds={tags: multi_valued}", *words)
    return prepare(own, plain(own), [path], folder, Silent())


@pytest.mark.parametrize("name", ["a.tsv", "a.ndjson", "a.parquet", "a.csv.gz", "a.ndjson.gz"])
def test_the_same_table_gives_the_same_ids_from_every_format(tmp_path: Path, name: str) -> None:
    rows = table()
    expected = prepared(tmp_path / "csv", written(tmp_path, "plain.csv", rows))
    found = prepared(tmp_path / "other", written(tmp_path, name, rows))
    assert found.fields == expected.fields
    tables = {key: value for key, value in expected.files.items() if "part-" not in key}
    assert {key: found.files[key] for key in tables} == tables
    for split in ("train", "valid", "test"):
        one, other = (
            read_split(tmp_path / folder, manifest, split)  # type: ignore[arg-type]
            for folder, manifest in (("csv", expected), ("other", found))
        )
        # NDJSON has no header, so its rows stand one line higher
        assert one.drop("__line").equals(other.drop("__line"))
        assert (one["__line"] - other["__line"]).unique().to_list() == [1 if "ndjson" in name else 0]


def test_what_was_not_said_is_inferred_and_shown(tmp_path: Path) -> None:
    rows = [{**row, "id": f"r{k}"} for k, row in enumerate(table(1500))]
    data = tabular.read(settings_of("data.timestamp=ts"), [written(tmp_path, "a.csv", rows)])
    kinds = {plan.name: plan.kind.value for plan in data.plans}
    assert kinds == {
        "place": "categorical", "item": "categorical", "price": "numeric", "tags": "categorical", "user": "categorical",
        "hour": "categorical", "weekday": "categorical",
    }  # fmt: skip
    assert any(note.startswith("id: left out") for note in data.notes)
    assert any(note.startswith("price: numeric") for note in data.notes)


@pytest.mark.parametrize(
    ("separator", "words"),
    [("|", ""), (";", """ 'data.list_separator=";"'"""), (",", """ 'data.list_separator=","'""")],
)
def test_what_looks_like_lists_is_told_with_what_to_type(tmp_path: Path, separator: str, words: str) -> None:
    rows = [
        {**row, "tags": separator.join(f"t{(k + j * j) % 5}" for j in range(k % 4 + 1))}
        for k, row in enumerate(table())
    ]
    path = tmp_path / "a.tsv"
    path.write_text(
        "\n".join("\t".join(map(str, row)) for row in [list(rows[0]), *(row.values() for row in rows)]) + "\n"
    )
    said = f"tags: looks like lists; 'data.kinds={{tags: multi_valued}}'{words} takes them apart"
    assert [note for note in tabular.read(settings_of(), [path]).notes if "lists" in note] == [said]
    typed_words = shlex.split(said.partition("; ")[2].removesuffix(" takes them apart"))
    data = tabular.read(settings_of(*typed_words), [path])
    assert not any("lists" in note for note in data.notes)
    (parse,) = (plan.parse for plan in data.plans if plan.name == "tags")
    assert parse is not None
    assert parse(pl.Series([rows[7]["tags"]])).to_list() == [rows[7]["tags"].split(separator)]


def test_roles_and_kinds_may_be_named(tmp_path: Path) -> None:
    words = ["data.roles={user: ignored, item: domain_aware}", "data.kinds={tags: multi_valued, price: categorical}"]
    data = tabular.read(settings_of(*words), [written(tmp_path, "a.csv", table())])
    found = {plan.name: (plan.role.value, plan.kind.value) for plan in data.plans}
    assert "user" not in found
    assert found["item"] == ("domain_aware", "categorical")
    assert found["tags"][1] == "multi_valued"


@pytest.mark.parametrize(
    ("line", "column", "reason"),
    [
        ("1,p1,1,0.5,a", "", "too few columns: 5"),
        ("1,p1,1,0.5,a,u,1537200000,9", "", "too many columns: 8"),
        ("2,p1,1,0.5,a,u,1537200000", "y", "neither 0 nor 1"),
        (",p1,1,0.5,a,u,1537200000", "y", "neither 0 nor 1"),
        ("1,p1,1,cheap,a,u,1537200000", "price", "is no number"),
        ("1,p1,1,inf,a,u,1537200000", "price", "is no number"),
        ("1,p1,1,0.5,a,u,soon", "ts", "is no point in time"),
        ('1,"p1,1,0.5,a,u,1537200000', "", "quote that does not close"),
        ('1,"p1"x,1,0.5,a,u,1537200000', "", "quote"),
        ("y,place,item,price,tags,user,ts", "", "repeats the header"),
    ],
)
def test_a_bad_row_is_named_and_spoils_no_other(tmp_path: Path, line: str, column: str, reason: str) -> None:
    path = written(tmp_path, "a.csv", table(40))
    lines = path.read_text().splitlines()
    lines.insert(20, line)
    path.write_text("\n".join(lines) + "\n")
    data = tabular.read(settings_of("data.timestamp=ts"), [path])
    frame = pl.concat(list(data.frames))
    assert frame["__line"].to_list() == [k for k in range(2, 43) if k != 21]
    (reject,) = data.rejects
    assert (reject.line, reject.column) == (21, column)
    assert reason in reject.reason


def test_a_bad_json_line_is_one_reject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ndjson, "SAMPLE_BYTES", 400)
    path = written(tmp_path, "a.ndjson", table(5))
    bad = ['{"y": 1', "7", '{"y": 1, "place": {"a": 1}}', '{"y": 1, "odd": 2}']
    path.write_text(path.read_text() + "\n".join(bad) + "\n")
    data = tabular.read(settings_of(), [path])
    assert pl.concat(list(data.frames)).height == 5
    assert [(r.line, r.column, r.reason) for r in data.rejects] == [
        (6, "", "is not JSON"),
        (7, "", "is not a JSON object"),
        (8, "place", "is nested"),
        (9, "odd", "is a key that the first rows do not have"),
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data.domain=[plase]"], "no column plase, which"),
        (["data.timestamp=tz"], "no column tz, which"),
        (["data.roles={usr: ignored}"], "no column usr, which"),
        (["data.label=yy"], "no file has the label column yy"),
    ],
)
def test_a_column_that_is_not_there_is_named_with_the_nearest_right_one(
    tmp_path: Path, words: list[str], message: str
) -> None:
    own = settings_of(*words)
    with pytest.raises(DataError) as caught:
        prepare(own, plain(own), [written(tmp_path, "a.csv", table())], tmp_path / "data", Silent())
    assert message in caught.value.message
    assert any(name in caught.value.hint for name in ("place", "ts", "user", "y"))


def test_a_file_that_is_no_parquet_is_a_fault_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1 nothing PAR1")
    with pytest.raises(DataError, match=r"a\.parquet is not a readable Parquet file"):
        tabular.read(settings_of(), [path])


def test_raw_must_be_named() -> None:
    with pytest.raises(UsageError):
        tabular.sources(settings_of(), [], Path(), Silent())


@pytest.mark.parametrize("text", ["1537286399", "1537286399000", "2018-09-18 15:59:59", "2018-09-18T15:59:59Z"])
def test_times_are_read_in_the_zone_that_was_named(tmp_path: Path, text: str) -> None:
    rows = [{**row, "ts": text} for row in table(3)]
    data = tabular.read(settings_of("data.timestamp=ts", "data.utc_offset_hours=8"), [written(tmp_path, "a.csv", rows)])
    frame = pl.concat(list(data.frames))
    assert frame["hour"].unique().to_list() == [23]
    assert frame["weekday"].unique().to_list() == [1]


texts = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0", exclude_categories=("Cs",)), max_size=12)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 1), texts, texts), min_size=1, max_size=20))
def test_no_row_of_a_well_formed_csv_is_lost(tmp_path: Path, rows: list[tuple[int, str, str]]) -> None:
    """Truth: Python's csv module, which writes the file."""
    path = tmp_path / "a.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["y", "place", "other"])
        writer.writerows(rows)
    data = tabular.read(settings_of("data.missing=[]", "data.spelling=as_written"), [path])
    frame = pl.concat(list(data.frames))
    assert not data.rejects
    assert frame.select("__label", "place").rows() == [(y, place) for y, place, _ in rows]


@needs_real
@pytest.mark.parametrize(
    ("data", "name", "label"),
    [
        ("iaac-sample", "iaac/round1_train_sample_56k.csv.gz", "is_trade"),
        ("tmall-repeat", "tmall_repeat/repeat_buyers.csv.gz", "label"),
    ],
)
def test_real_tables_are_read_as_the_csv_module_reads_them(tmp_path: Path, data: str, name: str, label: str) -> None:
    own = settings_of(data=data)
    manifest = prepare(own, plain(own), [REAL / name], tmp_path / "data", Silent())
    assert manifest.rejected == {}
    with gzip.open(REAL / name, "rt", newline="") as file:
        raw = dict(enumerate(csv.DictReader(file), start=2))
    assert sum(counts.rows for counts in manifest.splits.values()) == len(raw)
    domains = pl.read_parquet(tmp_path / "data" / "domains.parquet")
    keys = domains.select("domain", *manifest.domain).rows()
    of_id = {row[0]: row[1:] for row in keys}
    for split in ("train", "valid", "test"):
        rows = read_split(tmp_path / "data", manifest, split)  # type: ignore[arg-type]
        for line, domain, y in rows.select("__line", "__domain", "__label").iter_rows():
            row = raw.pop(line)
            assert int(row[label]) == y
            assert of_id[domain] == tuple(row[name] for name in manifest.domain)
    assert not raw


def test_the_domain_itself_can_be_one_more_field_that_tells_it(tmp_path: Path) -> None:
    """Its ids stand for the domains one to one; a combination that training lacks has id 0."""
    rows = table()
    words = ("data.domain=[place,user]", "data.domain_id=true", "data.split=random", "data.min_count=1")
    manifest = prepared(tmp_path / "data", written(tmp_path, "plain.csv", rows), *words)
    own = next(field for field in manifest.fields if field.name == "domain")
    assert own.role == "domain_aware"
    assert [field.name for field in manifest.fields if field.role == "domain_aware"] == ["place", "user", "domain"]
    for split in ("train", "test"):
        frame = read_split(tmp_path / "data", manifest, split)  # type: ignore[arg-type]
        seen = frame.filter(pl.col("__domain") < manifest.num_domains)
        assert seen.select("__domain", "domain").n_unique() == seen["__domain"].n_unique() == seen["domain"].n_unique()
        assert (seen["domain"] > 0).all()
        assert (frame.filter(pl.col("__domain") >= manifest.num_domains)["domain"] == 0).all()


def test_beside_a_column_named_domain_the_domains_own_field_has_another_name(tmp_path: Path) -> None:
    rows = [{**row, "domain": "x" if row["y"] else "z"} for row in table()]
    own = settings_of("data.domain=[place,user]", "data.split=random", "data.min_count=1")
    raw = written(tmp_path, "plain.csv", rows)
    manifest = prepare(own, plain(own), [raw], tmp_path / "data", Silent())
    aware = [field.name for field in manifest.fields if field.role == "domain_aware"]
    assert aware == ["place", "user", "domain_id"]
    (block,) = encode_rows(tmp_path / "data", manifest, own, [raw])
    encoded = {row[0]: row[1:] for row in block.frame.select("__line", "domain", "domain_id").iter_rows()}
    for split in manifest.splits:
        stored = read_split(tmp_path / "data", manifest, split).select("__line", "domain", "domain_id")
        assert all(encoded[row[0]] == row[1:] for row in stored.iter_rows())


def test_where_the_domain_is_one_field_it_is_its_own_id(tmp_path: Path) -> None:
    manifest = prepared(tmp_path / "data", written(tmp_path, "plain.csv", table()), "data.split=random")
    assert [field.name for field in manifest.fields if field.role == "domain_aware"] == ["place"]


def test_a_new_file_is_read_as_the_prepared_ones_were_whatever_it_would_look_like_by_itself(tmp_path: Path) -> None:
    own = settings_of("data.split=random", "data.kinds={tags: multi_valued}")
    manifest = prepare(own, plain(own), [written(tmp_path, "old.csv", table())], tmp_path / "data", Silent())

    def encoded(name: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
        (block,) = encode_rows(tmp_path / "data", manifest, own, [written(tmp_path, name, rows)])
        return block.frame

    rows = [row | {"price": 1.0} for row in table(8)]
    expected = encoded("floats.csv", rows)
    assert encoded("whole.csv", [row | {"price": 1} for row in rows]).equals(expected)
    assert encoded("more.csv", [row | {"extra": k} for k, row in enumerate(rows)]).equals(expected)
    # another tool writes whole numbers so as soon as one is missing
    assert encoded("decimals.csv", [row | {"item": f"{row['item']}.0"} for row in rows]).equals(expected)
    whole = [{**row, "place": f"{k % 4}.0", "item": f"{row['item']}.0"} for k, row in enumerate(table())]
    other = prepare(own, plain(own), [written(tmp_path, "written.csv", whole)], tmp_path / "other", Silent())
    new = written(tmp_path, "new.csv", [{**row, "place": row["place"][:-2], "item": row["item"][:-2]} for row in whole])
    (block,) = encode_rows(tmp_path / "other", other, own, [new])
    assert (block.frame["item"] > 0).all()
    assert (block.frame["__domain"] < other.num_domains).all()
    assert (encoded("others.csv", [row | {"item": f"{row['item']}.5"} for row in rows])["item"] == 0).all()
    unlabelled = [{key: value for key, value in row.items() if key != "y"} for row in rows]
    assert encoded("unlabelled.csv", unlabelled).equals(expected.drop("__label"))
    assert encoded("one.csv", [rows[0] | {"price": ""}]).drop("price").equals(expected.head(1).drop("price"))
    for name in ("price", "place", "tags", "user"):
        with pytest.raises(DataError, match=f"no column {name}|lacks the column {name}"):
            encoded("less.csv", [{key: value for key, value in row.items() if key != name} for row in rows])


@pytest.mark.parametrize("name", ["domain", "rows", "positives", "train_rows", "test_positives"])
def test_the_domain_may_be_a_column_of_any_name(tmp_path: Path, name: str) -> None:
    rows = [{name if key == "place" else key: value for key, value in row.items()} for row in table()]
    own = settings_of("data.split=random", f"data.domain=[{name}]")
    manifest = prepare(own, plain(own), [written(tmp_path, "old.csv", rows)], tmp_path / "data", Silent())
    plainly = settings_of("data.split=random")
    other = prepare(plainly, plain(plainly), [written(tmp_path, "other.csv", table())], tmp_path / "other", Silent())
    assert (manifest.num_domains, manifest.num_all_domains) == (other.num_domains, other.num_all_domains) == (4, 4)
    found = read_domains(tmp_path / "data", manifest)
    assert sorted(found[found.columns[1]]) == ["p0", "p1", "p2", "p3"]
    (block,) = encode_rows(tmp_path / "data", manifest, own, [written(tmp_path, "new.csv", rows)])
    assert block.frame["__domain"].n_unique() == 4
    assert inspect(own, [written(tmp_path, "again.csv", rows)], Silent()).rows == 60


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Shanghai"])
def test_points_in_time_of_parquet_are_those_of_text(tmp_path: Path, unit: Any, zone: str | None) -> None:
    """A time without a zone is in UTC, as in text; one with a zone is the same moment."""
    texts = pl.Series("ts", [row["ts"] for row in table()])
    times = (texts * 1000 + 7).cast(pl.Datetime("ms", "UTC")).dt.cast_time_unit(unit)
    times = times.dt.replace_time_zone(None) if zone is None else times.dt.convert_time_zone(zone)
    pl.DataFrame(table()).with_columns(times).write_parquet(tmp_path / "a.parquet")
    words = ("data.split=day", "data.timestamp=ts", "data.min_count=1")
    own = settings_of(*words)
    other = prepare(own, plain(own), [tmp_path / "a.parquet"], tmp_path / "data", Silent())
    expected = prepare(own, plain(own), [written(tmp_path, "a.csv", table())], tmp_path / "text", Silent())
    assert other.rejected == {}
    for split in ("train", "test"):
        one, two = (
            read_split(tmp_path / name, manifest, split) for name, manifest in (("data", other), ("text", expected))
        )  # type: ignore[arg-type]
        assert one.height > 0
        assert one.equals(two)


def test_a_split_by_day_of_rows_without_time_says_what_is_lacking(tmp_path: Path) -> None:
    own = settings_of("data.split=day")
    with pytest.raises(DataError, match="no labelled row has a timestamp") as caught:
        prepare(own, plain(own), [written(tmp_path, "plain.csv", table())], tmp_path / "data", Silent())
    assert "data.timestamp=COLUMN" in caught.value.hint
    two_days = [{**row, "ts": 1537200000 + 86400 * (k % 2)} for k, row in enumerate(table())]
    timed = settings_of("data.split=day", "data.timestamp=ts")
    with pytest.raises(DataError, match="cover 2 days; a split by day needs three"):
        prepare(timed, plain(timed), [written(tmp_path, "two.csv", two_days)], tmp_path / "data", Silent())


def test_a_split_that_leaves_nothing_to_train_on_is_refused() -> None:
    with pytest.raises(UsageError, match="leave nothing to train on"):
        settings_of("data.split=random", "data.valid_share=0.5", "data.test_share=0.5")


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n\x00\x00", "y,place\n1,a\n".encode("utf-16")])
def test_what_is_no_text_says_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(DataError, match="not text in UTF-8"):
        tabular.read(settings_of(), [tmp_path / "t.csv"])
