"""IAAC's list columns: each distinct text is parsed once."""

from __future__ import annotations

from functools import partial

import polars as pl

from adasparse_cli.columns.distinct import Remembered, numbered_type
from adasparse_cli.columns.hashing import text_digests

LISTS = {
    "item_category_list": r"^([0-9]+(;[0-9]+){0,2}|-1)$",
    "item_property_list": r"^([0-9]+(;[0-9]+)*|-1)$",
    "predict_category_property": r"^(-?[0-9]+(:-?[0-9]+(,-?[0-9]+)*)?)(;-?[0-9]+(:-?[0-9]+(,-?[0-9]+)*)?)*;?$",
}


class Lists:
    """The parsed texts of the lists, one struct per text; texts repeat in many blocks."""

    def __init__(self) -> None:
        self.types = {name: numbered_type() for name in LISTS}
        self.facts = {name: Remembered(partial(_facts, name)) for name in LISTS}

    def parsed(self, rows: pl.DataFrame) -> list[pl.Series]:
        """For the lists of each row: whether the form is wrong, a hash, and the numbers in the list."""
        return [column for name, facts in self.facts.items() for column in facts(rows[name]).struct.unnest()]


def _facts(name: str, texts: pl.Series) -> pl.Series:
    """The columns of `Lists.parsed`, for distinct texts of one kind of list."""
    if name == "item_category_list":
        path = _numbers(texts.str.split(";"))
        lists, made = [path], {f"item_category_{level}": path.list.get(level, null_on_oob=True) for level in (1, 2)}
    elif name == "item_property_list":
        made = {"owned": properties(texts)}
        lists = list(made.values())
    else:
        made = {"predicted": predicted_categories(texts), "asked": predicted_properties(texts)}
        lists = list(made.values())
    wrong = ~texts.str.contains(LISTS[name])
    for numbers in lists:  # beyond 64 bits
        wrong |= numbers.list.eval(pl.element().is_null()).list.any()
    return pl.DataFrame({wrong_column(name): wrong, digest_column(name): text_digests(texts)} | made).to_struct()


def wrong_column(name: str) -> str:
    return f"{name} is wrong"


def digest_column(name: str) -> str:
    return f"{name} as a hash"


def _numbers(lists: pl.Series) -> pl.Series:
    """Lists of texts as lists of numbers without -1, which means none; texts that are not 64-bit numbers become null."""
    return lists.list.eval(pl.element().cast(pl.Int64, strict=False)).list.eval(
        pl.element().filter(pl.element().ne_missing(-1))
    )


def properties(texts: pl.Series) -> pl.Series:
    """`p;p;…` as lists of property ids; `-1` is the empty list."""
    return _numbers(texts.str.split(";"))


def predicted_categories(texts: pl.Series) -> pl.Series:
    """`cat:prop,prop;cat:-1` as lists of category ids, in the order of the prediction."""
    return _numbers(texts.str.extract_all(r"(?:^|;)-?[0-9]+").list.eval(pl.element().str.strip_chars_start(";")))


def predicted_properties(texts: pl.Series) -> pl.Series:
    """`cat:prop,prop;cat:-1` as lists of property ids; `-1` means that none is predicted."""
    return _numbers(texts.str.extract_all(r"[:,]-?[0-9]+").list.eval(pl.element().str.strip_chars_start(":,")))
