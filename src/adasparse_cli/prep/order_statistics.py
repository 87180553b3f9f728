"""Exact order statistics of a column that is read block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

# Size of the sample whose order gives the bins; a bin has about one in BINS of all values.
SAMPLE, BINS = 1 << 16, 1 << 12

Blocks = Callable[[], Iterator[np.ndarray]]


def order_statistics(blocks: Blocks, ranks: Callable[[int], Sequence[int]]) -> np.ndarray:
    """The values at some ranks of all sorted values.

    Three passes: a sample gives the edges of bins, the second pass counts the values in each bin, the third sorts the values of
    bins that contain a requested rank. A value that equals an edge has a separate bin, so frequent values need no sorting.

    Args:
        blocks: reads the values, float64, equal at each call.
        ranks: given the number of values, the ranks from 0, ascending.

    Returns:
        The value of each rank, exactly as `np.sort(all)[ranks]`; empty without values.
    """
    sample, number = _sample(blocks())
    wanted = np.asarray(ranks(number), dtype=np.int64) if number else np.zeros(0, dtype=np.int64)
    if not len(wanted):
        return np.zeros(0)
    edges = np.unique(np.sort(sample)[np.arange(1, BINS) * len(sample) // BINS])
    counts = np.zeros(2 * len(edges) + 1, dtype=np.int64)
    for block in blocks():
        counts += np.bincount(_bins(block, edges), minlength=len(counts))
    ends = counts.cumsum()
    places = np.searchsorted(ends, wanted, side="right")
    found = edges[np.minimum(places // 2, len(edges) - 1)]  # for bins of a single value; the others are sorted below
    open_bins = np.unique(places[places % 2 == 0])
    if len(open_bins):
        inside: dict[int, list[np.ndarray]] = {int(place): [] for place in open_bins}
        for block in blocks():
            bins = _bins(block, edges)
            chosen = np.isin(bins, open_bins)
            some, bins = block[chosen], bins[chosen]
            for place, parts in inside.items():
                parts.append(some[bins == place])
        for place, parts in inside.items():
            own = places == place
            found[own] = np.sort(np.concatenate(parts))[wanted[own] - (ends[place] - counts[place])]
    return found


def _sample(blocks: Iterator[np.ndarray]) -> tuple[np.ndarray, int]:
    """At most 2 × SAMPLE values spread over all blocks, and the total number of values."""
    kept, step, number = np.zeros(0), 1, 0
    for block in blocks:
        kept = np.concatenate([kept, block[-number % step :: step]])
        number += len(block)
        while len(kept) > 2 * SAMPLE:
            kept, step = kept[::2], 2 * step
    return kept, number


def _bins(block: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """2k for values between the edges k − 1 and k, 2k + 1 for values equal to edge k."""
    places = np.searchsorted(edges, block, side="left")
    equal = (places < len(edges)) & (edges[np.minimum(places, len(edges) - 1)] == block)
    return np.asarray(2 * places + equal)
