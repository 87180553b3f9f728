"""A column of long texts with few distinct values: each distinct text is processed once.

Texts of lists repeat (IAAC has 11 thousand distinct ones in 478 thousand rows), also between blocks. A Categorical
column with one `numbered_type` has the same number for a text in every block and thread.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

import numpy as np
import polars as pl

_MANY_CHUNKS = 32


def numbered_type() -> pl.Categorical:
    """A type that numbers the texts cast to it, independent of all other such types. It is released when no column has it."""
    return pl.Categorical(pl.Categories.random())


class Remembered:
    """A cache of `make` for texts that repeat in many blocks. Thread-safe.

    Args:
        make: maps distinct texts, in the order of first appearance, to one value for each. The values have the same type in
            every call.
    """

    def __init__(self, make: Callable[[pl.Series], pl.Series]) -> None:
        self._make = make
        self._places = np.full(1024, -1)  # by a text's number, the index of its value in _made
        self._made: pl.Series | None = None
        self._kept: pl.Series | None = None  # a column of the type, which keeps its numbers alive
        self._lock = Lock()

    def __call__(self, texts: pl.Series) -> pl.Series:
        """The value of each row, null for null. All columns ever given have the same `numbered_type`."""
        with self._lock:
            self._kept = texts.clear() if self._kept is None else self._kept
            made = self._learnt(texts.drop_nulls())
            places = pl.Series(self._places[texts.to_physical().fill_null(0).to_numpy()])
        if texts.null_count():
            places = places.set(texts.is_null(), None)
        return made.gather(places).alias(texts.name)

    def _learnt(self, texts: pl.Series) -> pl.Series:
        numbers = texts.to_physical().to_numpy()
        beyond = int(numbers.max(initial=0)) + 1 - len(self._places)
        if beyond > 0:
            self._places = np.concatenate([self._places, np.full(max(beyond, len(self._places)), -1)])
        unknown = np.flatnonzero(self._places[numbers] < 0)
        if self._made is None or len(unknown):
            rows = unknown[np.sort(np.unique(numbers[unknown], return_index=True)[1])]
            made = self._make(texts.gather(rows).cast(pl.String))
            known = 0 if self._made is None else len(self._made)
            self._places[numbers[rows]] = np.arange(known, known + len(rows))
            self._made = made if self._made is None else self._made.append(made)
            if self._made.n_chunks() > _MANY_CHUNKS:
                self._made = self._made.rechunk()
        return self._made
