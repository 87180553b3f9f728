"""Labels: 0 and 1 as they are written, others only as they are named."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from adasparse_cli.errors import DataError
from tests.data_prep.tables import read, written


@pytest.mark.parametrize(
    ("zero", "one"),
    [("no", "yes"), ("-1", "1"), ("f", "t"), ("N", "Y"), ("bad", "good"), ("n", "Yes please")],
)
def test_labels_of_two_other_texts_are_shown_with_what_to_type(tmp_path: Path, zero: str, one: str) -> None:
    path = written(tmp_path, "y,place", [f"{one if k % 3 == 0 else zero},p{k % 4}" for k in range(30)])
    with pytest.raises(DataError) as caught:
        read(path)
    assert f"{zero!r} (20 rows), {one!r} (10 rows)" in caught.value.message
    frame, data = read(path, *shlex.split(caught.value.hint.partition(" reads ")[0]))
    assert frame["__label"].to_list() == [int(k % 3 == 0) for k in range(30)]
    assert not data.rejects
    (note,) = [finding for finding in data.noticed() if finding.text.startswith("y: 1 is")]
    assert repr(zero) in note.text


@pytest.mark.parametrize(
    ("zero", "one"), [("0", "1"), ("false", "true"), ("False", "TRUE"), ("0.0", "1.0"), (" 0", "1 ")]
)
def test_plain_labels_need_no_setting(tmp_path: Path, zero: str, one: str) -> None:
    frame, data = read(written(tmp_path, "y,place", [f"{one},p", f"{zero},p"]))
    assert frame["__label"].to_list() == [1, 0]
    assert not data.noticed()


def test_both_kinds_in_one_column_are_never_guessed(tmp_path: Path) -> None:
    path = written(tmp_path, "y,place", ["yes,p", "no,p", "1,p", "0,p"] * 5)
    with pytest.raises(DataError, match="neither 0 nor 1 in 10 of the first 20 rows") as caught:
        read(path)
    assert caught.value.hint.startswith("data.positive=[TEXT,…]")
    frame, _ = read(path, "data.positive=[yes,1]")
    assert frame["__label"].to_list() == [1, 0, 1, 0] * 5


def test_a_missing_label_is_never_a_zero(tmp_path: Path) -> None:
    frame, data = read(written(tmp_path, "y,place", ["yes,p", ",p", "NA,p", "no,p"]), "data.positive=[yes]")
    assert frame["__label"].to_list() == [1, 0]
    assert [(reject.line, reject.reason) for reject in data.rejects] == [(3, "is missing"), (4, "is missing")]


def test_a_positive_that_never_comes_is_named(tmp_path: Path) -> None:
    _, data = read(written(tmp_path, "y,place", ["click,p", "view,p"]), "data.positive=[clicked]")
    (warning,) = data.noticed()
    assert warning.severity == "warning"
    assert "none of data.positive=['clicked']" in warning.text
    assert "'click' (1 rows)" in warning.text
