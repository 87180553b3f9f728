"""Where values stand among distinct keys, frame after frame."""

from __future__ import annotations

import numpy as np
import polars as pl

# Keys no further apart than this are not searched for, but are the index of a table.
_SPAN = 1 << 12


class Lookup:
    """The place (from 0) of values among keys.

    Integers are searched for in sorted keys, once sorted: a join would build a hash table of all keys for every frame,
    which for millions of users takes longer than the search, and several times the memory of the keys.

    Args:
        keys: distinct; one of them may be null, which null is found at.
    """

    def __init__(self, keys: pl.Series) -> None:
        self._keys = keys
        self._sorted: np.ndarray | None = None
        self._table: np.ndarray | None = None
        if keys.dtype.is_integer() and len(keys) > keys.null_count():
            missing = keys.is_null().arg_true()
            self._null = missing[0] if len(missing) else -1
            order = keys.arg_sort()[len(missing) :]  # nulls come first
            self._places = order.cast(pl.Int32).to_numpy()
            self._sorted = keys.gather(order).to_numpy()
            if int(self._sorted[-1]) - int(self._sorted[0]) < _SPAN:
                self._table = np.full(int(self._sorted[-1]) - int(self._sorted[0]) + 1, -1, dtype=np.int32)
                self._table[self._sorted - self._sorted[0]] = self._places

    def places(self, values: pl.Series) -> np.ndarray:
        """int32, −1 where a value is no key."""
        if values.dtype != self._keys.dtype:
            values = values.cast(self._keys.dtype, strict=False)
        return self._joined(values) if self._sorted is None else self._searched(values, self._sorted)

    def _joined(self, values: pl.Series) -> np.ndarray:
        table = pl.DataFrame({"value": self._keys, "place": pl.int_range(len(self._keys), dtype=pl.Int32, eager=True)})
        found = values.to_frame("value").join(table, on="value", how="left", nulls_equal=True, maintain_order="left")
        return found["place"].fill_null(-1).to_numpy()

    def _searched(self, values: pl.Series, keys: np.ndarray) -> np.ndarray:
        numbers = values.fill_null(0).to_numpy()
        if self._table is not None:
            near = np.clip(numbers, keys[0], keys[-1])
            places = np.where(near == numbers, self._table[near - keys[0]], np.int32(-1))
        else:
            near = np.minimum(np.searchsorted(keys, numbers), len(keys) - 1)
            places = np.where(keys[near] == numbers, self._places[near], np.int32(-1))
        if values.null_count():
            places[values.is_null().to_numpy()] = self._null
        return places
