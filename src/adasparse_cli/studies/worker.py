"""A worker process that trains runs one after the other, and the messages that it sends to its parent.

Starting a process loads torch, which takes longer than a short run, so a worker trains further runs. After a failure it
ends, so that the next run starts in a clean process.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from adasparse_cli.choices import Split
from adasparse_cli.errors import AdasparseError, BusyError, DiskFullError, InterruptedRun
from adasparse_cli.files import disk_is_full, no_room
from adasparse_cli.prep.recipe import Progress, Silent
from adasparse_cli.runs.prepare import PrepReport
from adasparse_cli.runs.train import TrainReport, run_train
from adasparse_cli.runs.train_job import TrainJob

TOLD_SECONDS = 0.5
BUSY_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class NamedRun:
    """A run of a study: its name, its job, and its prepared data."""

    name: str
    job: TrainJob
    prepared: PrepReport

    @property
    def arm(self) -> str:
        """The name without the seed."""
        return self.name.removesuffix(f", seed {self.job.seed}")


@dataclass(frozen=True)
class RunDone:
    """Message of a finished run. The worker then waits for the next run.

    Args:
        valid: metrics of the valid split.
    """

    valid: Mapping[str, Any]


@dataclass(frozen=True)
class NoRoom:
    """Message of a run that failed because the disk is full."""

    message: str
    hint: str
    needed: int


def expected_rows(run: NamedRun) -> int:
    """Expected number of training rows of a run, over all epochs."""
    rows = run.prepared.manifest.splits[Split.train].rows * run.job.loop.likely_epochs
    limit = run.job.loop.max_steps
    return round(rows if limit is None else min(rows, limit * run.job.loop.batch_size))


def serve(connection: Connection) -> None:
    """Train the runs that arrive through the connection, until None arrives or the connection closes.

    Sends the number of rows done (int), the reason of a failure (str or `NoRoom`; then the process ends), and `RunDone`.
    """
    # the parent handles Ctrl-C, and asks its workers to save
    os.setpgrp()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT,))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(EOFError, OSError):
        while (run := connection.recv()) is not None:
            report = _train(run, connection)
            gc.collect()
            tell(connection, RunDone(report.report["metrics"].get("valid", {})))


def tell(connection: Connection, news: int | str | NoRoom | RunDone) -> None:
    """Send a message to the parent. A dead parent is ignored here, because `_end_with_parent` stops the run."""
    with contextlib.suppress(OSError):
        connection.send(news)


class _Told(Silent):
    """Progress that is sent to the parent every `TOLD_SECONDS`. Only training rows count."""

    def __init__(self, expected: int, connection: Connection) -> None:
        self._expected, self._connection = expected, connection
        self._rows, self._spoke, self._training = 0, 0.0, False

    def start(self, what: str, total: int | None, unit: str) -> None:
        self._training = what.startswith("training")
        if self._training and total is not None:
            self._rows = max(self._expected - total, 0)  # rows done before a resume

    def advance(self, amount: int, detail: Mapping[str, float] | None = None) -> None:
        if not self._training:
            return
        self._rows += amount
        now = time.monotonic()
        if now - self._spoke > TOLD_SECONDS:
            self._spoke = now
            self.tell_rows()

    def tell_rows(self) -> None:
        """Send the number of rows done."""
        tell(self._connection, self._rows)


def _train(run: NamedRun, connection: Connection) -> TrainReport:
    try:
        progress = _Told(expected_rows(run), connection)
        report = _train_when_free(run, progress)
        progress.tell_rows()
        return report
    except InterruptedRun as stopped:
        raise SystemExit(stopped.exit_code) from None
    except KeyboardInterrupt:  # a second SIGTERM
        raise SystemExit(128 + signal.SIGTERM) from None
    except Exception as error:
        if disk_is_full(error):
            where = Path(getattr(error, "filename", None) or run.job.runs)
            full = error if isinstance(error, DiskFullError) else no_room(where)
            tell(connection, NoRoom(full.message, full.hint, full.needed))
            raise SystemExit(full.exit_code) from None
        if isinstance(error, AdasparseError):
            tell(connection, error.message)
            raise SystemExit(error.exit_code) from None
        tell(connection, f"{type(error).__name__}: {error}")
        raise SystemExit(1) from None


def _train_when_free(run: NamedRun, progress: Progress) -> TrainReport:
    while True:
        try:
            return run_train(run.job, progress, resume=True, prepared=run.prepared)
        except BusyError:  # another study trains the same run; its result is used
            time.sleep(BUSY_SECONDS)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
