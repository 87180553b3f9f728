"""The key of a domain as one text: no two keys share one, and it can be read back."""

from __future__ import annotations

import itertools

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adasparse_cli.prep.key import joined_key, joined_keys, split_key

VALUES = [
    None,
    "missing",
    "\\missing",
    "\\\\missing",
    "missing\n",
    "a/b",
    "a",
    "b",
    "a\\",
    "\\",
    "",
    "/",
    "a\\/b",
    "$0",
]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_no_two_keys_have_the_same_text_and_each_is_read_back(number: int) -> None:
    keys = list(itertools.product(VALUES, repeat=number))
    columns = list("xyz"[:number])
    table = pl.DataFrame(keys, schema=dict.fromkeys(columns, pl.String), orient="row")
    texts = table.select(joined_keys([pl.col(name) for name in columns])).to_series().to_list()
    assert len(set(texts)) == len(keys)
    assert [tuple(split_key(text, number)) for text in texts] == keys


@given(st.lists(st.none() | st.text("missng/\\ aé", max_size=9), min_size=1, max_size=4))
def test_any_key_is_read_back(values: list[str | None]) -> None:
    assert split_key(joined_key(values), len(values)) == values


def test_values_without_special_signs_stand_as_they_are() -> None:
    assert joined_key(["0", None, "a b"]) == "0/missing/a b"
    assert joined_key(["news/sport"]) == "news/sport"
    assert joined_key(["news/sport", "live"]) == "news\\/sport/live"
    assert joined_key(["news", "sport/live"]) == "news/sport\\/live"
