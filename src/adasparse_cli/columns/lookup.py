"""Finds values among distinct keys, for many frames."""

from __future__ import annotations

import numpy as np
import polars as pl

# Keys in a range up to this size are indices of a table instead.
_SPAN = 1 << 12


class Lookup:
    """The index (from 0) of values among keys.

    Integers are found by binary search in keys that are sorted once. A join would build a hash table of all keys for every
    frame. For millions of users that takes longer than the search, and several times the memory of the keys.

    Args:
        keys: distinct; one of them may be null, which is the key of null.
    """

    def __init__(self, keys: pl.Series) -> None:
        self._sorted: np.ndarray | None = None
        self._by_offset: np.ndarray | None = None
        if keys.dtype.is_integer() and keys.dtype != pl.UInt64:
            keys = keys.cast(pl.Int64)
        self._type = keys.dtype
        if not keys.dtype.is_integer() or len(keys) == keys.null_count():
            places = pl.int_range(len(keys), dtype=pl.Int32, eager=True)
            self._table = pl.DataFrame({"value": keys, "place": places})
            return
        missing = keys.is_null().arg_true()
        self._null = missing[0] if len(missing) else -1
        order = keys.arg_sort()[len(missing) :]  # nulls come first
        self._places = order.cast(pl.Int32).to_numpy()
        self._sorted = keys.gather(order).to_numpy()
        if (span := int(self._sorted[-1]) - int(self._sorted[0])) < _SPAN:
            self._by_offset = np.full(span + 1, -1, dtype=np.int32)
            self._by_offset[self._sorted - self._sorted[0]] = self._places

    def places(self, values: pl.Series) -> np.ndarray:
        """int32, −1 for values that are not keys."""
        same = values.cast(self._type, strict=False)
        places = self._joined(same) if self._sorted is None else self._searched(same, self._sorted)
        if same.null_count() == values.null_count():
            return places
        # a value outside the range of the keys' type is not a key, not even null
        return np.where((same.is_null() & values.is_not_null()).to_numpy(), np.int32(-1), places)

    def _joined(self, values: pl.Series) -> np.ndarray:
        found = values.to_frame("value").join(
            self._table, on="value", how="left", nulls_equal=True, maintain_order="left"
        )
        return found["place"].fill_null(-1).to_numpy()

    def _searched(self, values: pl.Series, keys: np.ndarray) -> np.ndarray:
        numbers = values.fill_null(0).to_numpy()
        if self._by_offset is not None:
            near = np.clip(numbers, keys[0], keys[-1])
            places = np.where(near == numbers, self._by_offset[near - keys[0]], np.int32(-1))
        else:
            near = np.minimum(np.searchsorted(keys, numbers), len(keys) - 1)
            places = np.where(keys[near] == numbers, self._places[near], np.int32(-1))
        if values.null_count():
            places[values.is_null().to_numpy()] = self._null
        return places
