"""The reader of IAAC's raw text, against a plain-Python reading of real files and against every bad input."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import polars.selectors as cs
import pytest

from adasparse_cli.config.compose import compose
from adasparse_cli.data_prep import iaac
from adasparse_cli.errors import AdasparseError, DataError, TooManyRejectedError
from adasparse_cli.prep.prepare import prepare
from adasparse_cli.prep.recipe import DataSettings, RawData, Silent
from adasparse_cli.prepared.files import is_current, open_prepared, verify
from adasparse_cli.prepared.tables import read_bags, read_split
from adasparse_cli.raw.lines import TextFile
from adasparse_cli.schema import Manifest
from adasparse_cli.scoring.new_files import encode_rows
from adasparse_cli.typed import plain, typed

REAL = Path(__file__).parents[3] / "shared" / "data" / "iaac"
HEAD, TEST_A = REAL / "round1_train_head_999.txt", REAL / "round1_ijcai_18_test_a_20180301.zip"
needs_real = pytest.mark.skipif(not HEAD.exists(), reason="the real IAAC pieces are not at ../shared/data")
HEADER = " ".join(iaac.SCHEMA)


def settings_of(*words: str) -> DataSettings:
    return typed(compose("prep", ["data=iaac", *words])["data"], iaac.Settings, "data")


def prepared(folder: Path, raw: list[Path], *words: str) -> Manifest:
    settings = settings_of(*words)
    return prepare(settings, plain(settings), raw, folder, Silent())


def made_up(number: int, **changes: Any) -> str:
    """One line of raw text, made up; `changes` replace columns."""
    values: dict[str, Any] = {
        "instance_id": 10**18 + number,
        "item_id": 5_000_000_000_000_000_001 + number % 7,
        "item_category_list": "11;12",
        "item_property_list": "21;22;23",
        "item_brand_id": 31,
        "item_city_id": -1,
        "item_price_level": 7,
        "item_sales_level": number % 5,
        "item_collected_level": 3,
        "item_pv_level": 4,
        "user_id": 900 + number % 11,
        "user_gender_id": number % 2,
        "user_age_level": 1003,
        "user_occupation_id": 2005,
        "user_star_level": 3006,
        "context_id": 10**17 + number,
        "context_timestamp": 1537200000 + 86400 * (number % 4) + number,
        "context_page_id": 4001,
        "predict_category_property": "99:-1;12:22,77,-1;13:-1",
        "shop_id": 41,
        "shop_review_num_level": 15,
        "shop_review_positive_rate": 1,
        "shop_star_level": 5002,
        "shop_score_service": 0.987654321,
        "shop_score_delivery": -1,
        "shop_score_description": 0.5,
        "is_trade": int(number % 6 == 0),
    }
    return " ".join(str(value) for value in {**values, **changes}.values())


def raw_file(folder: Path, lines: list[str], name: str = "train.txt") -> Path:
    path = folder / name
    path.write_text("\n".join([HEADER, *lines]) + "\n")
    return path


def good_lines(number: int = 60) -> list[str]:
    return [made_up(k) for k in range(number)]


def read_plainly(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and columns, with nothing but str.split."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            text = archive.read(archive.namelist()[0]).decode()
    else:
        text = path.read_text()
    header: list[str] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        if not header:
            header = line.split(" ")
            continue
        yield number, dict(zip(header, line.split(" "), strict=True))


def expected_values(row: dict[str, str]) -> dict[str, Any]:
    """The features of a row in plain Python, from the description of the format."""
    known = {name: None if text == "-1" else text for name, text in row.items()}
    moment = datetime.fromtimestamp(int(row["context_timestamp"]), UTC) + timedelta(hours=8)
    path = row["item_category_list"].split(";")
    items = [] if row["item_property_list"] == "-1" else row["item_property_list"].split(";")
    predicted: list[tuple[str, list[str]]] = []
    if row["predict_category_property"] != "-1":
        for entry in row["predict_category_property"].split(";"):
            if entry:
                category, _, properties = entry.partition(":")
                predicted.append((category, [p for p in properties.split(",") if p not in ("", "-1")]))
    categories = [category for category, _ in predicted]
    properties = [p for _, found in predicted for p in found]
    values: dict[str, Any] = {name: known[name] for name in iaac.CATEGORICAL if name in row}
    values |= {name: None if row[name] == "-1" else float(row[name]) for name in iaac.NUMERIC}
    values |= {
        "item_category_1": path[1] if len(path) > 1 else None,
        "item_category_2": path[2] if len(path) > 2 else None,
        "hour": str(moment.hour),
        "weekday": str(moment.weekday()),
        "predicted_category_rank": str(categories.index(path[1]) + 1) if path[1] in categories else None,
        "shared_property_count": str(len(set(items) & set(properties))) if predicted else None,
        "item_property_list": [int(p) for p in items if p != "-1"],
        "predicted_categories": [int(c) for c in categories if c != "-1"],
        "predicted_properties": [int(p) for p in properties],
    }
    return values


def all_rows(data: RawData) -> pl.DataFrame:
    """The frames as one, lists as text: each frame numbers its own distinct texts."""
    return pl.concat(frame.with_columns(cs.categorical().cast(pl.String)) for frame in data.frames)


@needs_real
def test_every_column_of_every_real_row_is_read_as_plain_python_reads_it(tmp_path: Path) -> None:
    settings = settings_of()
    checked = 0
    for path in (HEAD, TEST_A):
        data = iaac.read(settings, [path])
        frame = all_rows(data)
        assert not data.rejects
        parsers = {plan.name: plan.parse for plan in data.plans if plan.parse is not None}
        lists = {
            name: dict(zip(frame[name].unique(maintain_order=True), parse(frame[name].unique(maintain_order=True)).to_list(), strict=True))
            for name, parse in parsers.items()
        }  # fmt: skip
        for found, (line, row) in zip(frame.iter_rows(named=True), read_plainly(path), strict=True):
            assert found["__line"] == line
            assert found["__label"] == (int(row["is_trade"]) if "is_trade" in row else None)
            assert found["__timestamp"] == int(row["context_timestamp"])
            assert found["__user"] == int(row["user_id"])
            for name, value in expected_values(row).items():
                own = lists[name][found[name]] if name in lists else found[name]
                if name in iaac.CATEGORICAL:
                    own = None if own is None else str(own)
                assert own == value, (path.name, line, name)
            checked += 1
    assert checked == 999 + 18_371


@needs_real
def test_real_files_are_prepared_with_no_row_lost_and_no_column_bent(tmp_path: Path) -> None:
    """Ids in the parts, looked up in the vocabularies, give the values of the raw rows again."""
    manifest = prepared(tmp_path / "iaac", [HEAD, TEST_A], "data.split=random", "data.min_count=1")
    assert sum(counts.rows for counts in manifest.splits.values()) == 999 + 18_371
    assert manifest.splits["unlabelled"].rows == 18_371
    assert manifest.rejected == {}
    verify(tmp_path / "iaac", manifest)
    raw = {(source, line): row for source, path in enumerate((HEAD, TEST_A)) for line, row in read_plainly(path)}
    train = Counter()  # type: ignore[var-annotated]
    vocabularies = {}
    for field in manifest.fields:
        table = pl.read_parquet(tmp_path / "iaac" / "vocabularies" / f"{field.name}.parquet")
        if "value" in table.columns:
            texts = [None if value is None else str(value) for value in table["value"]]
            vocabularies[field.name] = dict(zip(table["id"], texts, strict=True))
    bags = {name: read_bags(tmp_path / "iaac", manifest, name).to_list() for name in iaac.MULTI_VALUED}
    for split in ("train", "valid", "test", "unlabelled"):
        for found in read_split(tmp_path / "iaac", manifest, split).iter_rows(named=True):  # type: ignore[arg-type]
            row = raw.pop((found["__source"], found["__line"]))
            values = expected_values(row)
            values["domain"] = "/".join("missing" if values[name] is None else values[name] for name in manifest.domain)
            for name, vocabulary in vocabularies.items():
                if name in bags:
                    ids = bags[name][found[name]]
                    known = set(vocabulary.values())
                    assert [vocabulary.get(k) for k in ids] == [
                        str(v) if str(v) in known else None for v in values[name]
                    ]
                elif found[name] == 0:
                    assert values[name] not in vocabulary.values()
                else:
                    assert vocabulary[found[name]] == values[name]
            train[split] += 1
    assert not raw
    assert dict(train) == {name: counts.rows for name, counts in manifest.splits.items()}


@needs_real
def test_the_known_counts_of_test_a_come_out_again() -> None:
    """Truth: the contest's description: 18,371 rows, 3,695 items, 2,015 shops, 13,573 users, all on 25 September."""
    frame = all_rows(iaac.read(settings_of(), [TEST_A]))
    assert frame.height == 18_371
    assert [frame[name].n_unique() for name in ("item_id", "shop_id", "user_id")] == [3_695, 2_015, 13_573]
    assert frame["__day"].cast(pl.Date).unique().to_list() == [datetime(2018, 9, 25).date()]


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo"])
def test_days_and_hours_are_read_in_utc8_wherever_the_machine_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    monkeypatch.setenv("TZ", zone)
    # 2018-09-18 15:59:59 UTC is a Tuesday's 23 h in UTC+8; a second later Wednesday begins there
    lines = [made_up(k, context_timestamp=1537286399 + k) for k in range(2)]
    frame = all_rows(iaac.read(settings_of(), [raw_file(tmp_path, lines)]))
    assert frame["hour"].to_list() == [23, 0]
    assert frame["weekday"].to_list() == [1, 2]
    assert frame["__day"].cast(pl.Date).to_list() == [datetime(2018, 9, 18).date(), datetime(2018, 9, 19).date()]


@pytest.mark.parametrize("kind", ["gz", "zip", "crlf", "bom", "blank", "unfinished"])
def test_the_same_rows_come_out_however_the_file_is_packed(tmp_path: Path, kind: str) -> None:
    path = raw_file(tmp_path, good_lines())
    plain_text = path.read_bytes()
    other = tmp_path / f"other.txt{'.' + kind if kind in ('gz', 'zip') else ''}"
    if kind == "gz":
        other.write_bytes(gzip.compress(plain_text))
    elif kind == "zip":
        with zipfile.ZipFile(other, "w") as archive:
            archive.writestr("train.txt", plain_text)
    else:
        bent = {
            "crlf": plain_text.replace(b"\n", b"\r\n"),
            "bom": b"\xef\xbb\xbf" + plain_text,
            "blank": plain_text.replace(b"\n", b"\n\n", 1) + b"\n\n",
            "unfinished": plain_text.rstrip(b"\n"),
        }
        other.write_bytes(bent[kind])
    data, expected = iaac.read(settings_of(), [other]), iaac.read(settings_of(), [path])
    found, wanted = all_rows(data), all_rows(expected)
    assert not data.rejects
    assert found.drop("__line").equals(wanted.drop("__line"))
    assert (found["__line"] - wanted["__line"]).unique().to_list() == [1 if kind == "blank" else 0]


BAD_ROWS = {
    "too few": (made_up(1).rsplit(" ", 1)[0], "", "too few columns: 26"),
    "too many": (made_up(1) + " 7", "", "too many columns: 28"),
    "no integer": (made_up(1, item_id="12x"), "item_id", "is not a whole number"),
    "float id": (made_up(1, user_id="1.5"), "user_id", "is not a whole number"),
    "too large": (made_up(1, shop_id="9223372036854775808"), "shop_id", "is not a whole number"),
    "empty": (made_up(1, shop_id=""), "shop_id", "is not a whole number"),
    "early": (made_up(1, context_timestamp=12), "context_timestamp", "not a second in 2017"),
    "label": (made_up(1, is_trade=2), "is_trade", "neither 0 nor 1"),
    "score": (made_up(1, shop_score_service="nan"), "shop_score_service", "neither in 0 to 1"),
    "list": (made_up(1, item_property_list="1;x"), "item_property_list", "not a list in the expected form"),
    "prediction": (
        made_up(1, predict_category_property="1:2:3"),
        "predict_category_property",
        "not a list in the expected form",
    ),
    "list beyond 64 bits": (
        made_up(1, item_property_list="1;" + "9" * 20),
        "item_property_list",
        "not a list in the expected form",
    ),
    "category beyond 64 bits": (
        made_up(1, item_category_list="1;" + "9" * 20),
        "item_category_list",
        "not a list in the expected",
    ),
    "other digits": (made_up(1, item_property_list="1;٣"), "item_property_list", "not a list in the expected form"),
    "byte order mark": ("\ufeff" + made_up(1), "", "begins with a byte order mark"),
    "nul": (made_up(1, item_brand_id="3\0"), "", "NUL"),
    "nul in a list": (made_up(1, item_property_list="1;\0"), "", "NUL"),
    "quote": ('"' + made_up(1), "instance_id", "is not a whole number"),
    "header again": (HEADER, "", "repeats the header"),
}


@pytest.mark.parametrize("name", BAD_ROWS)
@pytest.mark.parametrize("part_bytes", [1 << 20, 700])  # with the header in one part, or behind it in another
def test_a_bad_row_is_set_aside_with_its_place_and_spoils_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, part_bytes: int
) -> None:
    monkeypatch.setattr(TextFile.parts, "__defaults__", (part_bytes,))
    line, column, reason = BAD_ROWS[name]
    lines = good_lines(40)
    lines.insert(20, line)
    data = iaac.read(settings_of(), [raw_file(tmp_path, lines)])
    frame = all_rows(data)
    assert frame.height == 40
    assert frame["__line"].to_list() == [k for k in range(2, 43) if k != 22]
    (reject,) = data.rejects
    assert (reject.source, reject.line, reject.column) == ("train.txt", 22, column)
    assert reason in reject.reason
    assert len(reject.value) <= 80


def test_bad_utf8_spoils_its_own_row_alone(tmp_path: Path) -> None:
    path = raw_file(tmp_path, good_lines(10))
    content = path.read_bytes().split(b"\n")
    content[4] = content[4].replace(b"11;12", b"11;\xff")
    content[6] = content[6].replace(b"11;12", "11;é".encode())
    path.write_bytes(b"\n".join(content))
    data = iaac.read(settings_of(), [path])
    assert all_rows(data).height == 8
    assert [(reject.line, reject.reason) for reject in data.rejects] == [
        (5, "is not UTF-8"),
        (7, "is not a list in the expected form"),
    ]


def test_too_many_rejected_rows_end_with_exit_3_and_a_table_of_reasons(tmp_path: Path) -> None:
    lines = [*good_lines(50), BAD_ROWS["label"][0], BAD_ROWS["too few"][0]]
    path = raw_file(tmp_path, lines)
    with pytest.raises(TooManyRejectedError) as caught:
        prepared(tmp_path / "data", [path])
    assert caught.value.exit_code == 3
    assert caught.value.reasons == {"is neither 0 nor 1": 1, "too few columns: 26 where the header has 27": 1}
    assert "train.txt:53" in caught.value.message or "train.txt:52" in caught.value.message
    assert not (tmp_path / "data").exists()
    assert pl.read_parquet(tmp_path / "iaac.rejects.parquet")["line"].to_list() == [52, 53]
    manifest = prepared(tmp_path / "data", [path], "data.max_rejected=0.1")
    assert sum(manifest.rejected.values()) == 2
    table = pl.read_parquet(tmp_path / "data" / "rejects.parquet")
    assert sorted(table["line"]) == [52, 53]


def _damaged(tmp_path: Path, name: str) -> Path:
    whole = "\n".join([HEADER, *good_lines(3000)]).encode()
    path = tmp_path / {"truncated gz": "a.txt.gz", "cut zip": "a.zip", "two files": "b.zip"}.get(name, "a.txt")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("one.txt", whole)
        archive.writestr("two.txt", whole)
    content = {
        "empty": b"",
        "truncated gz": gzip.compress(whole)[:-2000],
        "cut zip": buffer.getvalue()[:-30],
        "two files": buffer.getvalue(),
        "missing column": whole.replace(b"shop_id ", b"", 1),
        "misnamed column": whole.replace(b"shop_id ", b"shop_ident ", 1),
        "no header": whole.split(b"\n", 1)[1],
    }[name]
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("empty", "is empty"),
        ("truncated gz", "damaged or cut off after line"),
        ("cut zip", "not a readable zip file"),
        ("two files", "holds 2 files (one.txt, two.txt)"),
        ("missing column", "lacks the column shop_id"),
        ("misnamed column", "shop_ident"),
        ("no header", "lacks the column"),
    ],
)
def test_a_fault_of_the_whole_file_ends_at_once_and_names_the_file(tmp_path: Path, name: str, words: str) -> None:
    path = _damaged(tmp_path, name)
    with pytest.raises(DataError) as caught:
        prepared(tmp_path / "data", [path])
    assert words in caught.value.message
    assert path.name in caught.value.message
    assert list(tmp_path.glob(".*preparing")) == []


def test_one_day_cannot_be_split_by_day_and_the_hint_says_how_else(tmp_path: Path) -> None:
    lines = [made_up(k, context_timestamp=1537200000) for k in range(50)]
    with pytest.raises(DataError, match="1 day") as caught:
        prepared(tmp_path / "data", [raw_file(tmp_path, lines)])
    assert "data.split=random" in caught.value.hint


def test_the_last_day_is_test_and_the_day_before_it_valid(tmp_path: Path) -> None:
    manifest = prepared(tmp_path / "data", [raw_file(tmp_path, good_lines(80))])
    days = {
        split: read_split(tmp_path / "data", manifest, split)["__day"].unique().sort().to_list()  # type: ignore[arg-type]
        for split in ("train", "valid", "test")
    }
    assert days == {"train": [17792, 17793], "valid": [17794], "test": [17795]}


def test_vocabularies_come_from_train_alone_and_rare_values_get_id_0(tmp_path: Path) -> None:
    lines = good_lines(80)
    lines += [made_up(200 + k, item_id=77, context_timestamp=1537200000 + 86400 * 3) for k in range(5)]
    lines += [made_up(300, item_id=88, context_timestamp=1537200000)]
    manifest = prepared(tmp_path / "data", [raw_file(tmp_path, lines)])
    table = pl.read_parquet(tmp_path / "data" / "vocabularies" / "item_id.parquet")
    assert 77 not in table["value"]
    assert 88 not in table["value"]
    counts = table.select("count", "value").rows()
    assert counts == sorted(counts, key=lambda row: (-row[0], row[1]))
    test = read_split(tmp_path / "data", manifest, "test")  # type: ignore[arg-type]
    assert (test["item_id"] == 0).sum() == 5
    assert manifest.unseen["item_id"] == pytest.approx(5 / test.height)


def test_missing_is_a_value_of_its_own_and_never_minus_one(tmp_path: Path) -> None:
    manifest = prepared(tmp_path / "data", [raw_file(tmp_path, good_lines(80))])
    cities = pl.read_parquet(tmp_path / "data" / "vocabularies" / "item_city_id.parquet")
    assert cities["value"].to_list() == [None]
    scores = pl.read_parquet(tmp_path / "data" / "vocabularies" / "shop_score_delivery.parquet")
    assert scores.select("lower", "upper").rows() == [(None, None)]
    assert read_split(tmp_path / "data", manifest, "train")["shop_score_delivery"].unique().to_list() == [1]  # type: ignore[arg-type]


@pytest.mark.parametrize("rule", ["keep", "drop"])
def test_exact_duplicates_are_counted_and_follow_the_rule(tmp_path: Path, rule: str) -> None:
    lines = good_lines(60)
    lines += [lines[3], lines[3], lines[7], made_up(7, context_id=1)]
    manifest = prepared(tmp_path / "data", [raw_file(tmp_path, lines)], f"data.duplicates={rule}")
    assert manifest.duplicates == 3
    assert sum(counts.rows for counts in manifest.splits.values()) == (64 if rule == "keep" else 61)


def test_the_same_input_gives_the_same_bytes_whatever_the_block_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = raw_file(tmp_path, good_lines(3000))
    one = prepared(tmp_path / "one", [path], "data.split=random")
    monkeypatch.setattr(TextFile.parts, "__defaults__", (7_000,))
    assert len(list(iaac.read(settings_of(), [path]).frames)) > 50
    two = prepared(tmp_path / "two", [path], "data.split=random")
    assert one.files == two.files
    assert one.fingerprint == two.fingerprint


def test_rows_of_the_random_split_do_not_move_when_others_are_added(tmp_path: Path) -> None:
    lines = good_lines(300)
    fewer = prepared(tmp_path / "fewer", [raw_file(tmp_path, lines, "a.txt")], "data.split=random")
    more = prepared(
        tmp_path / "more",
        [raw_file(tmp_path, [made_up(1000 + k) for k in range(50)] + lines, "b.txt")],
        "data.split=random",
    )
    for split in ("valid", "test"):
        early = set(read_split(tmp_path / "fewer", fewer, split)["__line"])  # type: ignore[arg-type]
        late = {line - 50 for line in read_split(tmp_path / "more", more, split)["__line"] if line > 51}  # type: ignore[arg-type]
        assert early == late


def test_prepared_data_are_current_until_a_file_or_a_setting_changes(tmp_path: Path) -> None:
    path = raw_file(tmp_path, good_lines())
    manifest = prepared(tmp_path / "data", [path])
    values = plain(settings_of())
    assert is_current(manifest, values, [path])
    assert not is_current(manifest, plain(settings_of("data.min_count=5")), [path])
    path.write_text(path.read_text() + made_up(999) + "\n")
    assert not is_current(manifest, values, [path])


def test_a_changed_byte_in_prepared_data_is_noticed(tmp_path: Path) -> None:
    manifest = prepared(tmp_path / "data", [raw_file(tmp_path, good_lines())])
    part = tmp_path / "data" / "train" / "part-00000.parquet"
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(bytes(content))
    with pytest.raises(AdasparseError) as caught:
        verify(tmp_path / "data", open_prepared(tmp_path / "data"))
    assert caught.value.exit_code == 4
    assert manifest.name in caught.value.hint


def test_a_new_file_is_encoded_as_preparation_encoded_the_same_rows(tmp_path: Path) -> None:
    path = raw_file(tmp_path, good_lines(200))
    manifest = prepared(tmp_path / "data", [path])
    stored = pl.concat([read_split(tmp_path / "data", manifest, split) for split in ("train", "valid", "test")])  # type: ignore[arg-type]
    (encoded,) = encode_rows(tmp_path / "data", manifest, settings_of(), [path])
    names = [field.name for field in manifest.fields] + ["__domain", "__label", "__line"]
    assert encoded.frame.select(names).sort("__line").equals(stored.select(names).sort("__line"))
    assert all(len(new) == 0 for new in encoded.new_bags.values())
    strange = raw_file(tmp_path, [made_up(1, user_gender_id=2, item_property_list="21;555")], "new.txt")
    (encoded,) = encode_rows(tmp_path / "data", manifest, settings_of(), [strange])
    assert encoded.frame["__domain"].to_list() == [manifest.num_all_domains]
    known = pl.read_parquet(tmp_path / "data" / "vocabularies" / "item_property_list.parquet")
    (new,) = encoded.new_bags["item_property_list"].to_list()
    assert new == [known.filter(pl.col("value") == 21)["id"][0], 0]


def test_lists_of_a_new_file_are_numbered_alike_in_one_block_and_in_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = prepared(tmp_path / "data", [raw_file(tmp_path, good_lines(200))])
    lists = ["11;12", "21;555", "7", "-1", "11;12", "7", "21;555", "8;9", "11"]
    new = raw_file(tmp_path, [made_up(k, item_property_list=lists[k % len(lists)]) for k in range(40)], "new.txt")
    stored = read_bags(tmp_path / "data", manifest, "item_property_list").to_list()

    def found() -> list[list[list[int]]]:
        blocks = []
        for encoded in encode_rows(tmp_path / "data", manifest, settings_of(), [new]):
            bags = stored + encoded.new_bags["item_property_list"].to_list()
            blocks.append([bags[number] for number in encoded.frame["item_property_list"]])
        return blocks

    (one,) = found()
    monkeypatch.setattr(TextFile.parts, "__defaults__", (900,))
    many = found()
    assert len(many) > 5
    assert [row for block in many for row in block] == one


def test_a_number_behind_a_tab_is_read_alike_whatever_its_neighbours_are(tmp_path: Path) -> None:
    lines = [made_up(1, shop_id="\t5"), made_up(2), made_up(3, user_id="x"), made_up(4, shop_score_service="\t0.5")]
    data = iaac.read(settings_of(), [raw_file(tmp_path, lines)])
    alone = iaac.read(settings_of(), [raw_file(tmp_path, [lines[0], lines[1], lines[3]], "alone.txt")])
    kept = all_rows(data).drop("__line")
    assert kept.equals(all_rows(alone).drop("__line"))
    assert [reject.line for reject in data.rejects] == [4]
