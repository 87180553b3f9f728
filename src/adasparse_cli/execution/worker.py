"""A worker process that trains runs one after the other, and the messages that it sends to its parent.

Starting a process loads torch, which takes longer than a short run, so a worker trains further runs. After a failure it
ends, so that the next run starts in a clean process.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from adasparse_cli.errors import AdasparseError, DiskFullError, InterruptedRun
from adasparse_cli.execution.named_run import NamedRun, ToldProgress, expected_rows, train_when_free
from adasparse_cli.files import disk_is_full, no_room
from adasparse_cli.runs.train import TrainReport


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


def _train(run: NamedRun, connection: Connection) -> TrainReport:
    try:
        progress = ToldProgress(expected_rows(run), functools.partial(tell, connection))
        report = train_when_free(run, progress)
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


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
