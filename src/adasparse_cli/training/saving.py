"""When a training loop saves: often enough to lose little, and never so often that saving slows training down.

The best weights of an evaluation that comes too soon after a save wait in memory and are written with the next save, so
that many evaluations which each improve do not each save.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from torch import Tensor

from adasparse_cli.models.base import Model
from adasparse_cli.training.checkpoint import save_checkpoint
from adasparse_cli.training.selection import Candidate

# Time between two saves, in durations of a save: saving takes 1 / (1 + 19) = 5 % of the time at most.
REST = 19
# Weights of more bytes than this do not wait in memory, which the memory stated before training does not hold.
LARGEST_COPY = 256 * 2**20


class SaveClock:
    """Says when a save is due.

    A save that took d seconds is followed by at least 19 d seconds without one, however short `seconds` is. Saves that
    cannot wait (the end, an interrupt) are made in any case and count as well. Nothing here changes what is computed.

    Args:
        seconds: the time between two saves.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._ended = self._rested = time.monotonic()

    def due(self, *, soon: bool) -> bool:
        """Whether a save is due; `soon` does not wait for `seconds` to pass, as after an evaluation."""
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
    """The best weights of a run so far: on disk, or in memory until the next save.

    Args:
        folder: of their checkpoint.
    """

    def __init__(self, folder: Path, clock: SaveClock) -> None:
        self._folder, self._clock = folder, clock
        self._waiting: tuple[dict[str, Tensor], Candidate] | None = None

    def keep(self, model: Model, found: Candidate, *, may_save: bool) -> None:
        """Keep a model's weights in the place of those before; they are written at once if a save is due."""
        weights = {f"model.{name}": value for name, value in model.state_dict().items()}
        waits = not may_save and sum(value.nbytes for value in weights.values()) <= LARGEST_COPY
        self._waiting = ({name: value.clone() for name, value in weights.items()} if waits else weights, found)
        if not waits:
            self.write()

    def write(self) -> None:
        """Write weights that are not on disk yet."""
        if self._waiting is None:
            return
        (weights, found), self._waiting = self._waiting, None
        with self._clock.saving():
            save_checkpoint(self._folder, weights, asdict(found), step=found.step)
