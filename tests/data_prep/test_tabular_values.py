"""One value, one spelling, for preparing and for scoring; and what is missing is said."""

from __future__ import annotations

import shlex
from pathlib import Path

import polars as pl
import pytest

from adasparse_cli.choices import Spelling
from adasparse_cli.config.compose import compose
from adasparse_cli.data_prep.tabular import Settings
from adasparse_cli.data_prep.tabular_values import spelled
from adasparse_cli.prepared.earlier_data import settings_as_today
from adasparse_cli.prepared.tables import read_domains
from adasparse_cli.scoring.new_files import encode_rows
from adasparse_cli.typed import typed
from tests.data_prep.tables import prepared, read, settings_of, written


@pytest.mark.parametrize(
    ("spelling", "text", "expected"),
    [
        ("numbers", "22.0", "22"), ("numbers", "-3.00", "-3"), ("numbers", "22.5", "22.5"), ("numbers", "007", "007"),
        ("numbers", "0060", "0060"), ("numbers", "1.0.0", "1.0.0"), ("numbers", "True", "true"),
        ("numbers", "FALSE", "false"), ("numbers", " ios", " ios"), ("numbers", None, None),
        ("as_written", "22.0", "22.0"), ("as_written", "True", "True"),
        ("stripped", " iOS ", "iOS"), ("stripped", "22.0 ", "22"),
        ("lower_case", " iOS ", "ios"), ("lower_case", "TRUE", "true"),
    ],
)  # fmt: skip
def test_the_spelling_of_a_value(spelling: str, text: str | None, expected: str | None) -> None:
    # beside values that need no change, and beside one that does
    for other in (["x"], ["True", "1.0"]):
        found = spelled(pl.Series([text, *other], dtype=pl.String), Spelling(spelling))
        assert found[0] == expected


def test_a_value_written_in_two_ways_is_one_domain_and_one_id(tmp_path: Path) -> None:
    """22 in one file and 22.0 in the other; a Parquet boolean beside True."""
    one = written(tmp_path, "y,place,member,tags", [f"{k % 2},22,True,1|2.0" for k in range(40)])
    pl.DataFrame(
        {
            "y": [k % 2 for k in range(40)],
            "place": [22.0] * 39 + [None],
            "member": [True] * 40,
            "tags": ["2|1.0"] * 40,
        }
    ).write_parquet(tmp_path / "b.parquet")
    manifest = prepared(tmp_path / "data", [one, tmp_path / "b.parquet"], "data.kinds={tags: multi_valued}")
    assert read_domains(tmp_path / "data", manifest)["place"].to_list() == ["22", None]
    sizes = {field.name: field.size for field in manifest.fields}
    assert sizes["member"] == 2
    assert sizes["tags"] == 3
    own = settings_of("data.kinds={tags: multi_valued}", "data.min_count=1")
    new = [written(tmp_path, "place,member,tags", ["22.0,TRUE,2", "22,true,2.0"], "new.csv")]
    (block,) = encode_rows(tmp_path / "data", manifest, own, new)
    assert block.frame["__domain"].to_list() == [0, 0]
    assert block.frame["member"].to_list() == [1, 1]
    assert block.frame["tags"].n_unique() == 1
    assert [len(ids) for ids in block.new_bags["tags"]] == [1]
    assert block.new_bags["tags"][0][0] > 0


def test_the_same_rule_is_used_for_preparing_and_for_scoring(tmp_path: Path) -> None:
    words = ("data.spelling=lower_case", "data.min_count=1")
    path = written(tmp_path, "y,place", [f"{k % 2},{('iOS', 'ios', ' ios', 'web')[k % 4]}" for k in range(40)])
    manifest = prepared(tmp_path / "data", [path], *words)
    assert read_domains(tmp_path / "data", manifest)["place"].to_list() == ["ios", "web"]
    new = [written(tmp_path, "place", ["IOS", "web "], "new.csv")]
    (block,) = encode_rows(tmp_path / "data", manifest, settings_of(*words), new)
    assert block.frame["__domain"].to_list() == [0, 1]


def test_data_of_before_the_spelling_score_each_text_as_it_was_learnt(tmp_path: Path) -> None:
    values = compose("prep", ["data=tabular", "data.label=y", "data.domain=[place]", "data.min_count=1"])["data"]
    added = ("positive", "timestamp_unit", "derived", "spelling")
    old = typed(settings_as_today({k: v for k, v in values.items() if k not in added}), Settings, "data")
    path = written(tmp_path, "y,place", [f"{k % 2},{('22', '22.0', '23.0')[k % 3]}" for k in range(60)])
    manifest = prepared(tmp_path / "data", [path], "data.spelling=as_written")
    domains = read_domains(tmp_path / "data", manifest)["place"].to_list()
    assert sorted(domains) == ["22", "22.0", "23.0"]
    (block,) = encode_rows(
        tmp_path / "data", manifest, old, [written(tmp_path, "place", ["22", "22.0", "23"], "n.csv")]
    )
    assert [domains[k] for k in block.frame["__domain"]] == ["22", "22.0", "23.0"]


def test_what_is_read_as_missing_is_listed_by_field_with_counts(tmp_path: Path) -> None:
    lines = ["1,p,", "0,p,null", "0,p,null", "1,NA,x", "0,p,x"]
    _, data = read(written(tmp_path, "y,place,item", lines))
    (note,) = data.noticed()
    assert note.severity == "note"
    assert note.text == "read as missing: place: NA in 1 rows; item: null in 2 rows, empty in 1 rows"


def test_namibia_is_not_lost_in_silence(tmp_path: Path) -> None:
    path = written(tmp_path, "y,place", [f"{k % 2},{('DE', 'NA', 'BR')[k % 3]}" for k in range(60)])
    frame, data = read(path)
    assert frame["place"].null_count() == 20
    (warning,) = [finding for finding in data.noticed() if finding.severity == "warning"]
    assert warning.text == "place: NA is read as missing in 20 rows, among two-letter codes (BR, DE, …)"
    words = shlex.split(warning.advice.partition(": ")[2])
    frame, data = read(path, *words)
    assert frame["place"].to_list().count("NA") == 20
    assert not data.noticed()


def test_na_among_other_values_is_no_code(tmp_path: Path) -> None:
    _, data = read(written(tmp_path, "y,place", [f"{k % 2},{('red', 'NA', 'BR')[k % 3]}" for k in range(60)]))
    assert [finding.severity for finding in data.noticed()] == ["note"]
