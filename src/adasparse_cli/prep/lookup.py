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
        """int32, −1 where a value is no key."""
        same = values.cast(self._type, strict=False)
        places = self._joined(same) if self._sorted is None else self._searched(same, self._sorted)
        if same.null_count() == values.null_count():
            return places
        # what the keys' type cannot hold is no key, not even null
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
