"""A run of a study, and what every process that trains one does: tell how far it is, wait for another that trains the same."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from adasparse_cli.choices import Split
from adasparse_cli.errors import BusyError
from adasparse_cli.prep.recipe import Progress, Silent
from adasparse_cli.runs.prepare import PrepReport
from adasparse_cli.runs.train import TrainReport, run_train
from adasparse_cli.runs.train_job import TrainJob

TOLD_SECONDS = 0.5
BUSY_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class NamedRun:
    """A run of a study: how it is called, what to train, on which prepared data."""

    name: str
    job: TrainJob
    prepared: PrepReport


def expected_rows(run: NamedRun) -> int:
    """Training rows that a run is expected to pass."""
    rows = run.prepared.manifest.splits[Split.train].rows * run.job.loop.likely_epochs
    limit = run.job.loop.max_steps
    return round(rows if limit is None else min(rows, limit * run.job.loop.batch_size))


class ToldProgress(Silent):
    """Progress that is told to another process now and then; only the rows trained on count.

    Args:
        expected: rows of the run, see `expected_rows`. tell: receives how many the run has passed so far.
        seconds: between two times.
    """

    def __init__(self, expected: int, tell: Callable[[int], None], *, seconds: float = TOLD_SECONDS) -> None:
        self._expected, self._tell, self._seconds = expected, tell, seconds
        self._rows, self._spoke, self._training = 0, 0.0, False

    def start(self, what: str, total: int | None, unit: str) -> None:
        self._training = what.startswith("training")
        if self._training and total is not None:
            self._rows = max(self._expected - total, 0)  # done before, in a run that goes on

    def advance(self, amount: int, detail: Mapping[str, float] | None = None) -> None:
        if not self._training:
            return
        self._rows += amount
        now = time.monotonic()
        if now - self._spoke > self._seconds:
            self._spoke = now
            self.tell_rows()

    def tell_rows(self) -> None:
        """Tell how many rows the run has passed so far."""
        self._tell(self._rows)


def train_when_free(run: NamedRun, progress: Progress) -> TrainReport:
    """Train a run, or wait for another process that trains the same: its result is this one's."""
    while True:
        try:
            return run_train(run.job, progress, resume=True, prepared=run.prepared)
        except BusyError:
            time.sleep(BUSY_SECONDS)
