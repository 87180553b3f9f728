"""Findings as plain values: kept and read back the same, and as CSV that a program reads without parsing words."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adasparse_cli.findings.cells import marked_texts, unmarked_texts
from adasparse_cli.findings.finding import (
    Finding,
    Interval,
    Support,
    Table,
    as_csv,
    cell,
    estimate,
    few_caption,
    marked,
)

finite = st.floats(allow_nan=False, allow_infinity=False, width=32)
intervals = st.builds(Interval.of, finite, finite, decimals=st.integers(0, 6)) | st.just(Interval(None, None))
names = st.text(st.characters(exclude_categories=("Cc", "Cs")))
rows = st.lists(st.fixed_dictionaries({"arm": names, "gain": st.none() | finite, "reach": intervals}), min_size=1)


@given(rows)
def test_a_finding_is_read_back_as_it_was(held: list[dict[str, Any]]) -> None:
    finding = Finding(
        name="f", title="F", question="?", tables=(Table(name="t", title="T", rows=held, gains=("gain",), faint=(0,)),)
    )
    assert Finding.from_json(json.loads(json.dumps(finding.to_json(), allow_nan=False))).tables == finding.tables


WEAK = {
    "arm": "a",
    "AUC": 0.51234,
    "difference": 0.01234,
    "reach": Interval(None, None),
    "test rows": 300,
    "positives": 19,
}
SUPPORT = Support(estimates={"AUC": "", "difference": "reach"})


@pytest.mark.parametrize(
    ("change", "auc", "difference"),
    [
        ({}, "0.51 *", "+0.01 *"),
        ({"reach": Interval(-0.1, 0.2)}, "0.51 *", "+0.0123"),  # the interval says how much is known
        ({"positives": 20}, "0.5123", "+0.0123"),
        ({"positives": 281}, "0.51 *", "+0.01 *"),  # few negatives
        ({"AUC": None}, "n/a", "+0.01 *"),
        ({"positives": None}, "0.5123", "+0.0123"),
    ],
)
def test_estimates_of_few_rows_have_two_digits(change: dict[str, Any], auc: str, difference: str) -> None:
    row = {**WEAK, **change}
    table = Table(name="t", title="T", rows=[row], caption="Read it so.", support=SUPPORT)
    assert (table.text(row, "AUC"), table.text(row, "difference")) == (auc, difference)
    (shown,) = table.shown_rows
    assert (cell(shown["AUC"], "AUC"), cell(shown["difference"], "difference")) == (auc, difference)
    assert shown["arm"] == "a"
    assert ("*" in table.shown_caption) == ("*" in auc + difference)
    read = Finding.from_json(
        json.loads(json.dumps(Finding(name="f", title="F", question="?", tables=(table,)).to_json()))
    )
    assert read.tables == (table,)
    assert "0.51234" in as_csv(table.rows, ["AUC"]) or row["AUC"] is None


def test_counts_of_a_table_hold_for_all_its_rows() -> None:
    support = Support(estimates={"AUC": ""}, rows=100, positives=3)
    table = Table(name="t", title="T", rows=[{"AUC": 0.51234}, {"AUC": 0.7}], support=support)
    assert [row["AUC"] for row in table.shown_rows] == ["0.51 *", "0.70 *"]


@given(rows)
def test_an_interval_is_two_numbers_in_csv(held: list[dict[str, Any]]) -> None:
    read = list(csv.DictReader(io.StringIO(as_csv(held, ["arm", "gain", "reach"]))))
    assert list(read[0]) == ["arm", "gain", "reach low", "reach high"]
    for row, found in zip(held, read, strict=True):
        for name, value in (("gain", row["gain"]), ("reach low", row["reach"].low), ("reach high", row["reach"].high)):
            assert found[name] == "" if value is None else float(found[name]) == value


@pytest.mark.parametrize(
    ("low", "high", "decimals", "text", "half"),
    [(-0.00123, 0.5, 4, "[-0.0012, +0.5000]", 0.250615), (-1, 2.345, 1, "[-1.0, +2.3]", 1.6725)],
)
def test_an_interval_in_words(low: float, high: float, decimals: int, text: str, half: float) -> None:
    found = Interval.of(low, high, decimals=decimals)
    assert cell(found) == text
    assert found.half_width == pytest.approx(half)


@pytest.mark.parametrize(("low", "high"), [(math.nan, 1.0), (0.0, math.nan), (math.nan, math.nan)])
def test_an_interval_with_an_unknown_end_is_none(low: float, high: float) -> None:
    found = Interval.of(low, high)
    assert found == Interval(None, None)
    assert cell(found) == "n/a"
    assert found.half_width is None


FORMULAS = ("=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "'quoted", "''=1", "-", "=1")
PLAIN_TEXTS = ("a=b", "-1", "+1.5", "-1e-5", "1,000", "", "007", "a'b", " =1")


def test_no_cell_of_csv_is_run_by_a_spreadsheet_and_each_can_be_read_back() -> None:
    rows = [{"domain": text, text: 1.5, "figure": -0.5} for text in FORMULAS]
    for row in rows:
        (header, line) = csv.reader(io.StringIO(as_csv([row], list(row)), newline=""))
        assert line[0] == f"'{row['domain']}"
        assert header[1] == f"'{row['domain']}"
        assert line[2] == "-0.5"
    assert [marked(text) for text in PLAIN_TEXTS] == list(PLAIN_TEXTS)


@given(st.lists(st.text("=+-@'\t1.a ", max_size=6) | st.none(), min_size=1))
def test_marks_of_a_frame_are_those_of_a_cell_and_are_taken_away_again(texts: list[str | None]) -> None:
    table = pl.DataFrame({"text": texts, "number": range(len(texts))}, schema_overrides={"text": pl.String})
    held = marked_texts(table)
    assert held["text"].to_list() == [None if text is None else marked(text) for text in texts]
    assert unmarked_texts(held).equals(table)


@pytest.mark.parametrize(
    ("rows", "positives", "few"), [(900, 20, False), (900, 19, True), (900, 885, True), (900, None, False)]
)
def test_a_metric_of_few_rows_of_one_class_has_two_digits_and_a_mark(
    rows: int, positives: int | None, few: bool
) -> None:
    assert estimate(0.71234, rows, positives) == ("0.71 *" if few else 0.71234)
    assert estimate(0.71234, rows, positives, sd=0.04567) == ("0.71 ± 0.05 *" if few else "0.7123 ± 0.0457")
    assert estimate(None, rows, positives) is None
    caption = few_caption({"test": {"rows": rows, "positives": positives}})
    assert ("the standard error of an AUC is about 0.0" in caption) is few
    assert few_caption({"test": {"rows": 9, "positives": 0}}) == "* test has only 0 positives"
