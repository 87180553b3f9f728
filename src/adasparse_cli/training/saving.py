"""When a training loop saves: often enough to lose little, and never so often that saving slows training down."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

# Time between two saves, in durations of a save: saving takes 1 / (1 + 19) = 5 % of the time at most.
REST = 19


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
