"""The order of streamed rows, which depends only on seed, epoch and step.

The rows of a split are divided into blocks of BLOCK consecutive rows. An epoch permutes the blocks and distributes them to
LANES lanes. A lane reads a window of blocks at a time and permutes the rows of the window. A step takes the same share of
every lane. So the position of a run is its step, and several readers can divide the lanes among themselves.

Quality of the shuffle: if the rows of a block are similar (a sorted log), the mean of a batch varies more than with a full
shuffle. With b rows per batch and w blocks in the windows, its variance is at most about 1 + b / w times as large.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

BLOCK, LANES = 256, 8


@dataclass(frozen=True)
class RowOrder:
    """The order of one epoch.

    Args:
        rows: number of rows of the split.
        steps: steps per epoch.
        window_rows: total number of rows in the windows of all lanes.
    """

    rows: int
    steps: int
    seed: int
    epoch: int
    window_rows: int

    @functools.cached_property
    def lanes(self) -> tuple[Lane, ...]:
        """The blocks of each lane, in the epoch's order."""
        number = -(-self.rows // BLOCK)
        blocks = np.random.default_rng([self.seed, self.epoch]).permutation(number).astype(np.int32)
        window = max(self.window_rows // (BLOCK * LANES), 1)
        return tuple(
            Lane(
                number=k,
                blocks=blocks[k::LANES],
                window_blocks=window,
                rows=self.rows,
                seed=self.seed,
                epoch=self.epoch,
            )
            for k in range(LANES)
        )

    def places(self, step: int, lane: int) -> tuple[int, int]:
        """The half-open range of places in a lane that a step takes."""
        length = self.lanes[lane].ends[-1] if len(self.lanes[lane].ends) else 0
        return int(step * length // self.steps), int((step + 1) * length // self.steps)

    def length(self, step: int) -> int:
        """Rows of a step."""
        return sum(end - start for start, end in (self.places(step, lane) for lane in range(LANES)))

    def variance_factor(self, batch_rows: int) -> float:
        """Upper bound of the variance of a batch mean relative to a full shuffle; reached if all rows of a block are equal."""
        blocks = -(-self.rows // BLOCK)
        in_windows = min(blocks, LANES * self.lanes[0].window_blocks)
        return 1.0 if in_windows == blocks else 1.0 + batch_rows / in_windows


@dataclass(frozen=True, eq=False)
class Lane:
    """A share of an epoch's blocks, read window by window.

    Args:
        rows: number of rows of the split; the last block may be shorter than BLOCK.
    """

    number: int
    blocks: np.ndarray
    window_blocks: int
    rows: int
    seed: int
    epoch: int

    @functools.cached_property
    def ends(self) -> np.ndarray:
        """The end of each window, exclusive."""
        sizes = np.minimum(self.rows - self.blocks.astype(np.int64) * BLOCK, BLOCK)
        return np.add.reduceat(sizes, np.arange(0, len(sizes), self.window_blocks)).cumsum() if len(sizes) else sizes

    def window_of(self, place: int) -> int:
        """The window that contains a place."""
        return int(np.searchsorted(self.ends, place, side="right"))

    def start(self, window: int) -> int:
        """The place of a window's first row."""
        return int(self.ends[window - 1]) if window else 0

    def window_blocks_of(self, window: int) -> np.ndarray:
        """The blocks that a window reads, in the order of reading."""
        return np.sort(self.blocks[window * self.window_blocks : (window + 1) * self.window_blocks])

    def shuffle(self, window: int) -> np.ndarray:
        """The permutation of a window's rows."""
        size = int(self.ends[window]) - self.start(window)
        return np.random.default_rng([self.seed, self.epoch, self.number, window]).permutation(size)
