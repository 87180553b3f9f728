"""What is made of a text once is what would be made of it each time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from adasparse_cli.prep.distinct import Remembered, as_distinct, codes_of, distinct_of
from adasparse_cli.prep.parallel import in_order

TEXTS = st.lists(st.text(max_size=3), min_size=1, max_size=40)


@given(TEXTS)
def test_texts_come_back_by_their_codes_in_order_of_first_appearance(texts: list[str]) -> None:
    column = as_distinct(pl.Series(texts, dtype=pl.String))
    assert distinct_of(column).to_list() == list(dict.fromkeys(texts))
    assert distinct_of(column).gather(codes_of(column)).to_list() == texts


@given(st.lists(TEXTS, min_size=1, max_size=60))
def test_each_text_is_made_once_and_every_block_gets_its_own(blocks: list[list[str]]) -> None:
    made: list[str] = []

    def lengths(texts: pl.Series) -> pl.Series:
        made.extend(texts.to_list())
        return texts.str.len_chars()

    remembered = Remembered(lengths)
    distinct = [pl.Series(list(dict.fromkeys(block)), dtype=pl.String) for block in blocks]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(remembered, distinct))
    for texts, values in zip(distinct, found, strict=True):
        assert values.to_list() == [len(text) for text in texts]
    assert sorted(made) == sorted({text for block in blocks for text in block})


def test_results_come_in_the_order_of_their_items() -> None:
    assert list(in_order(lambda k: k * k, ((k,) for k in range(20)))) == [k * k for k in range(20)]
