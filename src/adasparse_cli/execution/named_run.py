"""A run of a study, and what each process that trains runs does: report progress, and wait for another process with the same run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from adasparse_cli.choices import Split
from adasparse_cli.errors import BusyError
from adasparse_cli.prep.recipe import Details, Progress, Silent
from adasparse_cli.runs.prepare import PrepReport
from adasparse_cli.runs.train import TrainReport, run_train
from adasparse_cli.runs.train_job import TrainJob

TOLD_SECONDS = 0.5
BUSY_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class NamedRun:
    """A run of a study or a search.

    Args:
        name: name of the run, such as `fusion, seed 1`; no other run has it.
        setting: the setting that a search tries; if it is part of the name, it follows the arm. Empty in a study.
    """

    name: str
    job: TrainJob
    prepared: PrepReport
    setting: str = ""

    @property
    def arm(self) -> str:
        """The name without the setting and the seed."""
        return self.name.removesuffix(f", seed {self.job.seed}").removesuffix(f" {self.setting}")


def expected_rows(run: NamedRun) -> int:
    """Expected number of training rows of a run, over all epochs."""
    rows = run.prepared.manifest.splits[Split.train].rows * run.job.loop.likely_epochs
    limit = run.job.loop.max_steps
    return round(rows if limit is None else min(rows, limit * run.job.loop.batch_size))


class ToldProgress(Silent):
    """Progress that is sent to another process. Only training rows count.

    Args:
        expected: rows of the run, see `expected_rows`.
        tell: receives the number of rows done.
        seconds: minimum time between two calls of `tell`.
    """

    def __init__(self, expected: int, tell: Callable[[int], None], *, seconds: float = TOLD_SECONDS) -> None:
        self._expected, self._tell, self._seconds = expected, tell, seconds
        self._rows, self._spoke, self._training = 0, 0.0, False

    def start(self, what: str, total: int | None, unit: str) -> None:
        self._training = what.startswith("training")
        if self._training and total is not None:
            self._rows = max(self._expected - total, 0)  # rows done before a resume

    def advance(self, amount: int, detail: Details | None = None) -> None:
        if not self._training:
            return
        self._rows += amount
        now = time.monotonic()
        if now - self._spoke > self._seconds:
            self._spoke = now
            self.tell_rows()

    def tell_rows(self) -> None:
        """Send the number of rows done."""
        self._tell(self._rows)


def train_when_free(run: NamedRun, progress: Progress) -> TrainReport:
    """Train a run. If another process trains the same run, wait for it and use its result."""
    while True:
        try:
            return run_train(run.job, progress, resume=True, prepared=run.prepared)
        except BusyError:
            time.sleep(BUSY_SECONDS)
