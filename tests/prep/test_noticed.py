"""What is warned of, from counts that are made up here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from adasparse_cli.choices import SplitRule
from adasparse_cli.errors import IntegrityError
from adasparse_cli.files import checksums
from adasparse_cli.prep.noticed import (
    FINDINGS,
    about_days,
    about_spellings,
    about_splits,
    read_findings,
    split_rule,
    write_findings,
)
from adasparse_cli.prep.recipe import Finding
from adasparse_cli.schema import Manifest

MANIFEST = Manifest(
    format_version=1, name="x", recipe="tabular", settings={}, sources=(), label="y", domain=("d",), fields=(),
    num_domains=0, num_all_domains=0, splits={}, rejected={}, duplicates=0, unseen={}, has_user=False,
    has_timestamp=False, files={}, fingerprint="",
)  # fmt: skip


def counts(rows: dict[str | None, int]) -> pl.DataFrame:
    return pl.DataFrame(
        {"value": list(rows), "rows": list(rows.values())}, schema={"value": pl.String, "rows": pl.Int64}
    )


@pytest.mark.parametrize(("domain", "severity"), [(True, "warning"), (False, "note")])
def test_values_that_differ_only_in_case_or_spaces_are_named_with_counts(domain: bool, severity: str) -> None:
    (found,) = about_spellings("os", counts({"iOS": 50, "ios": 30, " ios": 2, "web": 9, None: 3}), domain=domain)
    assert found.severity == severity
    assert "'iOS' (50 rows) and 'ios' (30 rows) and ' ios' (2 rows)" in found.text
    assert "data.spelling=lower_case" in found.advice
    (found,) = about_spellings("os", counts({"web": 9, "web ": 1}), domain=domain)
    assert "data.spelling=stripped" in found.advice


def test_values_that_differ_otherwise_are_not_named() -> None:
    assert not about_spellings("os", counts({"ios": 1, "i os": 1, "007": 1, "7": 1, None: 1, "": 1}), domain=True)


def test_case_may_tell_many_ids_apart_but_spaces_never_do() -> None:
    ids: dict[str | None, int] = {f"a{k}": 1 for k in range(10_001)}
    assert not about_spellings("id", counts({**ids, "A1": 1}), domain=False)
    assert about_spellings("id", counts({**ids, "a1 ": 1}), domain=False)


def day(name: str, rows: int) -> dict[str, object]:
    return {"day": name, "rows": rows, "positives": rows // 2, "rate": 0.5}


def test_a_day_with_next_to_no_rows_is_named_with_the_split_it_is() -> None:
    days = [day(f"2024-01-0{k}", 1000) for k in range(1, 8)]
    assert not about_days(days, SplitRule.day)
    (found,) = about_days([*days, day("2038-01-19", 1)], SplitRule.day)
    assert found.severity == "warning"
    assert "2038-01-19 has 1 (all of the test split)" in found.text
    (found,) = about_days([day("1999-01-01", 2), *days], SplitRule.day)
    assert found.severity == "note"
    (found,) = about_days([*days, day("2038-01-19", 1)], SplitRule.random)
    assert found.severity == "note"


def test_sizes_of_splits_are_checked() -> None:
    splits = [{"split": "train", "rows": 1000, "positives": 300}, {"split": "valid", "rows": 1, "positives": 0}]
    valid, test = about_splits(splits)
    assert valid.text == "the valid split has one class only: 0 positives in 1 rows"
    assert test.text == "the test split is empty"
    rare = {"train": 300, "valid": 300, "test": 9}
    (few,) = about_splits([{"split": name, "rows": 1000, "positives": count} for name, count in rare.items()])
    assert few.text == "the test split has 9 rows of its rarer class"


def test_the_split_rule_is_said_in_a_line() -> None:
    values = {"split": "random", "valid_share": 0.1, "test_share": 0.2}
    assert split_rule(values, {}) == "split: random by row hash, 10% valid, 20% test"
    days = {"test": ("2024-01-07", "2024-01-07"), "valid": ("2024-01-05", "2024-01-06")}
    assert split_rule({"split": "day"}, days) == "split: by day, valid = 2024-01-05 to 2024-01-06, test = 2024-01-07"


def test_findings_are_kept_as_warnings_and_read_again(tmp_path: Path) -> None:
    assert read_findings(tmp_path, MANIFEST) == []
    write_findings([Finding("error", "a", "b"), Finding("note", "c", "d")], tmp_path)
    manifest = replace(MANIFEST, files=checksums(tmp_path, [tmp_path / FINDINGS]))
    assert read_findings(tmp_path, manifest) == [Finding("warning", "a", "b"), Finding("note", "c", "d")]
    (tmp_path / FINDINGS).write_text('[{"x": 1}]')
    with pytest.raises(IntegrityError):
        read_findings(tmp_path, manifest)
