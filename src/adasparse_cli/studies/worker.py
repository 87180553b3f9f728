"""A process that trains runs, one after the other: what it does, and what it tells the process that started it.

Starting up, which loads torch, takes longer than a short run, so a process stays for the next run when one is done. After a
failure it ends: a new process has nothing left of what went wrong.
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
from adasparse_cli.files import disk_is_full, no_room
from adasparse_cli.runs.train import TrainReport
from adasparse_cli.studies.named_run import NamedRun, ToldProgress, expected_rows, train_when_free


@dataclass(frozen=True)
class RunDone:
    """What is told when a run has its result; the process waits for the next one.

    Args:
        valid: its metric of the valid split that chose the best checkpoint, and others.
    """

    valid: Mapping[str, Any]


@dataclass(frozen=True)
class NoRoom:
    """What a run tells of a full disk."""

    message: str
    hint: str
    needed: int


def serve(connection: Connection) -> None:
    """Train the runs that come, until None or nothing more comes.

    Tells the rows done (int), why a run fails (str or `NoRoom`, then the process ends) and that a run is done.
    """
    # Ctrl-C in the terminal is for the parent, which asks its children to save
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
    """Tell the parent. If it has died, that is no fault of the run, which is about to be asked to save and end."""
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
