"""Exact order statistics of a column that is read block by block, in any process and in any order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Protocol, TypeVar

import numpy as np

# Size of the sample whose order gives the bins; a bin has about one in BINS of all values.
SAMPLE, BINS = 1 << 16, 1 << 12
T = TypeVar("T")


class Each(Protocol):
    """Applies a function to every block of a column, in order. The blocks are equal at each call."""

    def __call__(self, look: Callable[[np.ndarray], T], /) -> Iterator[T]: ...


def order_statistics(each: Each, ranks: Callable[[int], Sequence[int]], *, rows: int) -> np.ndarray:
    """The values at some ranks of all sorted values.

    Three passes: a sample gives the edges of bins, the second pass counts the values in each bin, the third sorts the values of
    bins that contain a requested rank. A value that equals an edge has a separate bin, so frequent values need no sorting.

    Args:
        each: looks at the values, float64, block by block. Each block costs a few numbers of the sample.
        ranks: given the number of values, the ranks from 0, ascending.
        rows: approximate number of values, for the size of the sample.

    Returns:
        The value of each rank, exactly as `np.sort(all)[ranks]`, with 0.0 for −0.0; empty without values.
    """
    looked = list(each(partial(_sample, max(1, rows // SAMPLE))))
    number = sum(count for _, count in looked)
    wanted = np.asarray(ranks(number), dtype=np.int64) if number else np.zeros(0, dtype=np.int64)
    if not len(wanted):
        return np.zeros(0)
    sample = np.sort(np.concatenate([values for values, _ in looked]))
    edges = np.unique(sample[np.arange(1, BINS) * len(sample) // BINS])
    counts = np.zeros(2 * len(edges) + 1, dtype=np.int64)
    for own in each(partial(_counts, edges)):
        counts += own
    ends = counts.cumsum()
    places = np.searchsorted(ends, wanted, side="right")
    found = edges[np.minimum(places // 2, len(edges) - 1)]  # for bins of a single value; the others are sorted below
    open_bins = np.unique(places[places % 2 == 0])
    if len(open_bins):
        inside = list(each(partial(_inside, edges, open_bins)))
        values, bins = (np.concatenate(parts) for parts in zip(*inside, strict=True))
        for place in open_bins:
            own = places == place
            found[own] = np.sort(values[bins == place])[wanted[own] - (ends[place] - counts[place])]
    return np.asarray(found + 0.0)  # −0.0 and 0.0 have no order


def _sample(step: int, block: np.ndarray) -> tuple[np.ndarray, int]:
    """Every `step`-th value, and the number of all values."""
    return block[::step].copy(), len(block)


def _counts(edges: np.ndarray, block: np.ndarray) -> np.ndarray:
    """The number of values in each bin."""
    return np.bincount(_bins(block, edges), minlength=2 * len(edges) + 1)


def _inside(edges: np.ndarray, chosen: np.ndarray, block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values in the chosen bins, and the bin of each."""
    bins = _bins(block, edges)
    inside = np.isin(bins, chosen)
    return block[inside], bins[inside]


def _bins(block: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """2k for values between the edges k − 1 and k, 2k + 1 for values equal to edge k."""
    places = np.searchsorted(edges, block, side="left")
    equal = (places < len(edges)) & (edges[np.minimum(places, len(edges) - 1)] == block)
    return np.asarray(2 * places + equal)
