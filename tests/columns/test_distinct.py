"""What is made of a text once is what would be made of it each time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from adasparse_cli.columns.distinct import Remembered, numbered_type
from adasparse_cli.prep.parallel import in_order

TEXTS = st.lists(st.none() | st.text(max_size=3), max_size=40)


@given(st.lists(TEXTS, min_size=1, max_size=60))
def test_each_text_is_made_once_and_every_row_gets_its_own(blocks: list[list[str | None]]) -> None:
    made: list[str] = []

    def lengths(texts: pl.Series) -> pl.Series:
        made.extend(texts.to_list())
        return texts.str.len_chars()

    remembered, kind = Remembered(lengths), numbered_type()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda block: remembered(pl.Series("t", block, dtype=pl.String).cast(kind)), blocks))
    for texts, values in zip(blocks, found, strict=True):
        assert values.to_list() == [None if text is None else len(text) for text in texts]
        assert values.name == "t"
    assert sorted(made) == sorted({text for block in blocks for text in block if text is not None})


@given(st.lists(TEXTS, min_size=1, max_size=5))
def test_new_texts_are_made_in_the_order_of_their_first_appearance(blocks: list[list[str | None]]) -> None:
    made: list[str] = []

    def remember(texts: pl.Series) -> pl.Series:
        made.extend(texts.to_list())
        return texts

    remembered, kind = Remembered(remember), numbered_type()
    other = pl.Series(["c", "b", "a"]).cast(kind)  # numbers need not follow the order of the texts
    for block in blocks:
        assert remembered(pl.Series(block, dtype=pl.String).cast(kind)).to_list() == block
    assert len(other) == 3
    assert made == list(dict.fromkeys(text for block in blocks for text in block if text is not None))


def test_results_come_in_the_order_of_their_items() -> None:
    assert list(in_order(lambda k: k * k, ((k,) for k in range(20)))) == [k * k for k in range(20)]
