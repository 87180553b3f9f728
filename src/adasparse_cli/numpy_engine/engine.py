"""The NumPy engine. It scores the rows of a condition with its sub-network, and the rows of small groups with the full network.

Importing it loads neither torch nor polars.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from functools import partial

import numpy as np

from adasparse_cli.numpy_engine.cut import SubNetwork, sub_network, why_not_cut
from adasparse_cli.numpy_engine.dense import sigmoid
from adasparse_cli.numpy_engine.encoder import EncodedRows
from adasparse_cli.numpy_engine.network import Network

# From this number of rows per condition on, its sub-network is faster than the full network in a mixed batch.
SMALL_GROUP = 8
# From this number of rows on, extracting a sub-network that is not stored pays off.
CUT_FROM = 64
# Rows per pass: their embeddings and layers stay in the processor's cache.
PASS_ROWS = 1024
CACHE_BYTES = 256 << 20
# Number of conditions whose weight factors are cached.
CACHED_FACTORS = 4096

Key = tuple[Hashable, ...]


class NumpyEngine:
    """Scores rows of ids.

    Args:
        stored: sub-networks of known conditions, read on first use, and their weight factors.
        cuts: whether to use sub-networks. cut_from: from this number of rows on, one that is not stored is extracted.
    """

    name = "numpy"

    def __init__(
        self,
        network: Network,
        stored: Mapping[Key, Callable[[], SubNetwork]] | None = None,
        factors: Mapping[Key, list[np.ndarray]] | None = None,
        *,
        cuts: bool = True,
        cut_from: int = CUT_FROM,
    ) -> None:
        self.network = network
        self._cuttable = why_not_cut(network.shape) is None
        self.cuts, self._cut_from = cuts and self._cuttable, cut_from
        self._stored, self._known_factors = dict(stored or {}), dict(factors or {})
        self._factors: OrderedDict[Key, list[np.ndarray]] = OrderedDict()
        self._cut: OrderedDict[Key, SubNetwork] = OrderedDict()
        self._cut_bytes = 0
        self._aware = [place for place, _ in network.aware_fields]
        sizes = [field.size if field.bags == 0 else None for _, field in network.aware_fields]
        known = [size for size in sizes if size is not None]
        # numbers of conditions in mixed radix, if 63 bits are enough
        plain = len(known) == len(sizes) and np.prod([float(size) for size in known]) < 2**63
        self._radix = np.cumprod([1, *known[:-1]]).astype(np.int64) if plain and known else None

    def logits(self, rows: EncodedRows) -> np.ndarray:
        """Logits, float32, one per row. They do not depend on the other rows."""
        if not len(rows):
            return np.zeros(0, dtype=np.float32)
        if not self.cuts:
            return _in_passes(rows, self._uncut if self._cuttable else self.network.logits)
        if len(rows) == 1:  # each call that is not made counts
            own = self._own(rows, 0, 1)
            return self._uncut(rows) if own is None else own.logits(self.network.agnostic(rows))
        order, bounds = self.groups(rows)
        if len(bounds) <= 2:
            return self._of_one(rows)
        ordered = rows.take(order)
        found = np.empty(len(rows), dtype=np.float32)
        small: list[np.ndarray] = []
        for start, end in itertools.pairwise(bounds.tolist()):
            own = self._own(ordered, start, end - start) if end - start >= SMALL_GROUP else None
            if own is None:
                small.append(np.arange(start, end))
            else:
                found[start:end] = _in_passes(ordered.take(slice(start, end)), partial(self._by_sub_network, own))
        if small:
            places = np.concatenate(small)
            found[places] = _in_passes(ordered.take(places), self._uncut)
        logits = np.empty_like(found)
        logits[order] = found
        return logits

    def _of_one(self, rows: EncodedRows) -> np.ndarray:
        """Logits of rows of one condition."""
        own = self._own(rows, 0, len(rows))
        return _in_passes(rows, self._uncut if own is None else partial(self._by_sub_network, own))

    def _by_sub_network(self, own: SubNetwork, rows: EncodedRows) -> np.ndarray:
        return own.logits(self.network.agnostic(rows))

    def probabilities(self, rows: EncodedRows) -> np.ndarray:
        """Probabilities, float64, one per row."""
        return sigmoid(self.logits(rows).astype(np.float64))

    def sub_network(self, condition: EncodedRows) -> SubNetwork:
        """The sub-network of a row's condition: stored, cached, or extracted now."""
        found = self._own(condition, 0, CUT_FROM)
        assert found is not None
        return found

    def key_of(self, rows: EncodedRows, row: int) -> Key:
        """A row's condition: its ids of the domain-aware fields; for a multi-valued field the ids of its bag."""
        key: list[Hashable] = []
        for place, field in self.network.aware_fields:
            number = int(rows.ids[row, place])
            if field.name in rows.bags:
                bag = rows.bags[field.name]
                key.append(tuple(bag.values[bag.starts[number] : bag.starts[number + 1]].tolist()))
            else:
                key.append(number)
        return tuple(key)

    def groups(self, rows: EncodedRows) -> tuple[np.ndarray, np.ndarray]:
        """The rows sorted by condition, and the start of each condition."""
        if len(rows) == 1:
            return np.zeros(1, dtype=np.int64), np.array([0, 1])
        own = rows.ids[:, self._aware]
        numbers = (
            own @ self._radix if self._radix is not None else np.unique(own, axis=0, return_inverse=True)[1].ravel()
        )
        order = np.argsort(numbers, kind="stable")
        steps = np.flatnonzero(np.diff(numbers[order])) + 1
        return order, np.concatenate([[0], steps, [len(rows)]])

    def _own(self, rows: EncodedRows, row: int, count: int) -> SubNetwork | None:
        """The sub-network of a row's condition, which has `count` rows; None if extracting it does not pay off."""
        key = self.key_of(rows, row)
        found = self._cut.get(key)
        if found is not None:
            self._cut.move_to_end(key)
            return found
        read = self._stored.get(key)
        if read is None and count < self._cut_from:
            return None
        if read is None:
            condition = rows.take(slice(row, row + 1))
            found = sub_network(self.network, condition, self._factors_of(key, condition))
        else:
            found = read()
        self._cut[key] = found
        self._cut_bytes += found.nbytes
        while self._cut_bytes > CACHE_BYTES and len(self._cut) > 1:
            self._cut_bytes -= self._cut.popitem(last=False)[1].nbytes
        return found

    def _factors_of(self, key: Key, condition: EncodedRows) -> list[np.ndarray]:
        found = self._known_factors.get(key) or self._factors.get(key)
        if found is None:
            found = [part.astype(np.float32) for part in self.network.factors(condition)]
            self._factors[key] = found
            if len(self._factors) > CACHED_FACTORS:
                self._factors.popitem(last=False)
        return found

    def _uncut(self, rows: EncodedRows) -> np.ndarray:
        """Logits of rows of several conditions, in their order; the factors of each condition are computed once."""
        order, bounds = self.groups(rows)
        of_row = np.empty(len(rows), dtype=np.int64)
        factors = []
        for number, (start, end) in enumerate(itertools.pairwise(bounds)):
            group = order[start:end]
            of_row[group] = number
            factors.append(self._factors_of(self.key_of(rows, int(group[0])), rows.take(group[:1])))
        by_gate = [np.concatenate(parts).take(of_row, axis=0) for parts in zip(*factors, strict=True)]
        return self.network.logits(rows, by_gate)


def _in_passes(rows: EncodedRows, score: Callable[[EncodedRows], np.ndarray]) -> np.ndarray:
    if len(rows) <= PASS_ROWS:
        return score(rows)
    parts = (rows.take(slice(start, start + PASS_ROWS)) for start in range(0, len(rows), PASS_ROWS))
    return np.concatenate([score(part) for part in parts])
