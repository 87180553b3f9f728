"""When a training loop saves: often enough to lose little work, and rarely enough not to slow training down.

If a new best checkpoint is found soon after a save, it waits in memory for the next save, so that frequent improvements do
not cause frequent saves.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from torch import Tensor

from adasparse_cli.checkpoints.checkpoint import save_checkpoint
from adasparse_cli.checkpoints.selection import Candidate
from adasparse_cli.models.base import Model

# Minimum time between two saves, in durations of a save: saving takes at most 1 / (1 + 19) = 5 % of the time.
REST = 19
# Larger weights do not wait in memory, because the memory estimate before training does not include the copy.
LARGEST_COPY = 256 * 2**20


class SaveClock:
    """Decides when a save is due.

    After a save of d seconds, the next save waits at least 19 d seconds, even if `seconds` is shorter. Saves at the end or at
    an interrupt do not wait, but count. The clock does not affect results.

    Args:
        seconds: time between two saves.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ended = self._rested = time.monotonic()

    def due(self, *, soon: bool) -> bool:
        """Whether a save is due. With `soon`, as after an evaluation, it does not wait for `seconds`."""
        now = time.monotonic()
        return now >= self._rested and (soon or now - self._ended > self._seconds)

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Measure a save."""
        started = time.monotonic()
        yield
        self._ended = time.monotonic()
        self._rested = max(self._rested, self._ended) + REST * (self._ended - started)


class BestWeights:
    """The best weights of a run so far, on disk or in memory until the next save.

    Args:
        folder: folder of the best checkpoint.
        clock: decides when to save.
    """

    def __init__(self, folder: Path, clock: SaveClock) -> None:
        self._folder, self._clock = folder, clock
        self._waiting: tuple[dict[str, Tensor], Candidate] | None = None

    def keep(self, model: Model, candidate: Candidate, *, may_save: bool) -> None:
        """Replace the best weights by those of a model. They are written at once if a save is due."""
        weights = {f"model.{name}": value for name, value in model.state_dict().items()}
        waits = not may_save and sum(value.nbytes for value in weights.values()) <= LARGEST_COPY
        self._waiting = ({name: value.clone() for name, value in weights.items()} if waits else weights, candidate)
        if not waits:
            self.write()

    def write(self) -> None:
        """Write weights that are not on disk yet."""
        if self._waiting is None:
            return
        (weights, candidate), self._waiting = self._waiting, None
        with self._clock.saving():
            save_checkpoint(self._folder, weights, asdict(candidate), step=candidate.step)
