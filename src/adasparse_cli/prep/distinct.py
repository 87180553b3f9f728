"""A column of long texts of which few are distinct: each text once, and its number for each row.

Lists as text repeat whole (11 thousand distinct in 478 thousand rows of IAAC), so what is made of a text is made
once and handed to its rows by number.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

import polars as pl

_MANY_CHUNKS = 32


def as_distinct(texts: pl.Series) -> pl.Series:
    """The texts (none of them null) as an Enum, whose categories stand in the order of their first appearance."""
    return texts.cast(pl.Enum(texts.unique(maintain_order=True)))


def distinct_of(column: pl.Series) -> pl.Series:
    """Each distinct text of such a column."""
    assert isinstance(column.dtype, pl.Enum)
    return column.dtype.categories


def codes_of(column: pl.Series) -> pl.Series:
    """For each row the place of its text in `distinct_of`."""
    return column.to_physical()


class Remembered:
    """What `make` makes of texts, for texts that come again in many blocks, from several threads.

    Args:
        make: from distinct texts to one value for each, of the same type at every call.
    """

    def __init__(self, make: Callable[[pl.Series], pl.Series]) -> None:
        self._make = make
        self._places: dict[str, int] = {}
        self._made: pl.Series | None = None
        self._lock = Lock()

    def __call__(self, texts: pl.Series) -> pl.Series:
        """The value of each of these distinct texts."""
        with self._lock:
            known = self._places
            words = texts.to_list()
            new = [word for word in words if word not in known]
            if new or self._made is None:
                made = self._make(pl.Series(new, dtype=pl.String))
                known.update(zip(new, range(len(known), len(known) + len(new)), strict=True))
                self._made = made if self._made is None else self._made.append(made)
                if self._made.n_chunks() > _MANY_CHUNKS:
                    self._made = self._made.rechunk()
            places = pl.Series([known[word] for word in words], dtype=pl.UInt32)
            return self._made.gather(places)
