"""SIGINT and SIGTERM while runs of a study are trained."""

from __future__ import annotations

from types import FrameType

from adasparse_cli.errors import InterruptedRun
from adasparse_cli.training.signals import StopWish


class StopOfStudy(StopWish):
    """Records the last SIGINT or SIGTERM. A second signal does not interrupt, so that running runs can save first."""

    def stopped(self, done: int, runs: int) -> InterruptedRun:
        """The error of a study that was stopped."""
        left = f"{runs - done} of {runs} runs are left"
        return InterruptedRun(
            f"stopped; {left}" if done < runs else "stopped after all runs were done",
            hint="run the same command again to resume",
            exit_code=128 + (self.number or 0),
        )

    def _wish(self, number: int, frame: FrameType | None) -> None:
        self.number = number
