"""SIGINT and SIGTERM while runs of a study are trained."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType

from adasparse_cli.errors import InterruptedRun


class StopOfStudy:
    """Records SIGINT or SIGTERM, so that running runs can save first.

    A signal that arrives after the last run is passed on to the previous handler.
    """

    number: int | None = None

    def __enter__(self) -> StopOfStudy:
        def wish(number: int, frame: FrameType | None) -> None:
            self.number = number

        self._old: dict[int, Callable[..., object] | int | None] = {}
        try:
            self._old = {number: signal.signal(number, wish) for number in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:  # only the main thread can set handlers
            self._old = {}
        return self

    def __exit__(self, *raised: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)
        if self.number is not None and raised[0] is None:
            signal.raise_signal(self.number)

    def stopped(self, done: int, runs: int) -> InterruptedRun:
        """The error of a study that was stopped."""
        left = f"{runs - done} of {runs} runs are left"
        return InterruptedRun(
            f"stopped; {left}" if done < runs else "stopped after all runs were done",
            hint="run the same command again to resume",
            exit_code=128 + (self.number or 0),
        )
