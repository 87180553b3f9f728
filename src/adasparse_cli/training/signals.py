"""SIGINT and SIGTERM as a request to stop, which work answers after it has saved."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Self


class StopWish:
    """Inside the context, the first signal sets `number`; a second signal interrupts at once.

    A signal that is unanswered at the end of the context is passed on to the previous handler.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._old: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}

    def __enter__(self) -> Self:
        try:
            self._old = {number: signal.signal(number, self._wish) for number in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:  # only the main thread can set handlers
            self._old = {}
        return self

    def __exit__(self, *raised: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)
        if self.number is not None and raised[0] is None:
            signal.raise_signal(self.number)

    def _wish(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None:
            raise KeyboardInterrupt
        self.number = number
