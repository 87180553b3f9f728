"""Train many runs, several at the same time, in worker processes, with one progress display.

A run that crashes does not affect other runs. If the parent dies, its workers save and end. The result of a run does not
depend on other runs.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections.abc import Mapping, Sequence
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any

from adasparse_cli.cluster.settings import ClusterSettings
from adasparse_cli.errors import DiskFullError
from adasparse_cli.execution.best_so_far import Best, report_run
from adasparse_cli.execution.cluster_runs import train_on_cluster
from adasparse_cli.execution.named_run import NamedRun, expected_rows
from adasparse_cli.execution.stop import StopOfStudy
from adasparse_cli.execution.worker import NoRoom, RunDone, serve
from adasparse_cli.prep.recipe import Progress


def train_all(
    runs: Sequence[NamedRun],
    progress: Progress,
    *,
    workers: int,
    what: str,
    best: Best | None = None,
    unit: str = "runs",
) -> dict[str, str]:
    """Train runs in order, on the launcher of their jobs. Interrupted runs resume.

    Args:
        workers: number of runs at the same time on this machine.
        best: reports each finished run with the best value so far, of all runs or by arm; None reports nothing.
        unit: name of the runs in reports, such as `runs of round 2`.

    Returns:
        The reason of each failed run, by name. Other runs continue after a failure.

    Raises:
        InterruptedRun: SIGINT or SIGTERM arrived; running runs are saved.
        DiskFullError: the disk is full; no further run is started.
    """
    if not runs:
        return {}
    if isinstance(launcher := runs[0].job.launcher, ClusterSettings):
        return train_on_cluster(runs, progress, launcher, what=what, best=best, unit=unit)
    progress.start(what, sum(expected_rows(run) for run in runs), "rows")
    waiting, done, trained = list(runs), 0, 0
    width = max(len(run.name) for run in runs)
    idle: list[Worker] = []
    running: list[Worker] = []
    failed: dict[str, str] = {}
    full: DiskFullError | None = None
    try:
        with StopOfStudy() as stop:
            while running or (waiting and full is None):
                while waiting and len(running) < workers and stop.number is None and full is None:
                    running.append(_start(idle, waiting.pop(0)))
                wait([source for one in running for source in one.sources()], timeout=0.5)
                for one in list(running):
                    progress.advance(one.news(), {"runs done": (done, len(runs))})
                    if one.ended:
                        running.remove(one)
                        rows = one.close_run()
                        trained += one.rows
                        full = full or one.full
                        done += one.done
                        if one.done:
                            idle.append(one)
                            if best is not None:
                                after = f"  {done} of {len(runs)} {unit}"
                                report_run(best, progress, one.run, one.valid, after=after, width=width)
                        elif stop.number is None:
                            failed[one.run.name] = one.why()
                            progress.note(f"{one.run.name} failed: {failed[one.run.name]}")
                        progress.advance(rows, {"runs done": (done, len(runs))})
                # early stopping makes the number of rows of a running run uncertain
                ahead = sum(max(expected_rows(one.run), one.rows) for one in running)
                progress.expect(trained + ahead + sum(map(expected_rows, waiting)))
                if stop.number is not None:
                    for one in running:
                        one.terminate()
                    done += sum(one.done for one in running)
                    raise stop.stopped(done, len(runs))
    finally:
        for one in idle:
            one.dismiss()
    if full is not None:
        raise full
    return failed


def _start(idle: list[Worker], run: NamedRun) -> Worker:
    """Give a run to an idle worker, or to a new one."""
    while idle:
        worker = idle.pop()
        if worker.give(run):
            return worker
    worker = Worker()
    worker.give(run)
    return worker


class Worker:
    """A worker process as seen by its parent: its current run, and the messages about it."""

    run: NamedRun
    rows: int
    reason: str | None
    full: DiskFullError | None
    done: bool
    valid: Mapping[str, Any]

    def __init__(self) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.connection, theirs = spawn.Pipe()
        self.process = spawn.Process(target=serve, args=(theirs,))
        # the child starts with SIGINT blocked, because Ctrl-C while it loads modules would print a traceback
        resource_tracker.ensure_running()  # else the child starts the tracker, which unblocks SIGINT
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()

    def give(self, run: NamedRun) -> bool:
        """Send a run to the worker; False if its process has died."""
        self.run, self.rows, self.reason, self.full, self.done = run, 0, None, None, False
        self.valid = {}
        try:
            self.connection.send(run)
        except OSError:
            return False
        return True

    @property
    def ended(self) -> bool:
        """Whether its run is done or has failed."""
        return self.done or self.process.exitcode is not None

    def sources(self) -> list[Connection | int]:
        return [self.process.sentinel] if self.connection.closed else [self.connection, self.process.sentinel]

    def news(self) -> int:
        """Receive messages; the number of rows done since the last call."""
        before = self.rows
        try:
            while not self.connection.closed and self.connection.poll():
                message = self.connection.recv()
                if isinstance(message, RunDone):
                    self.done, self.valid = True, message.valid
                elif isinstance(message, str):
                    self.reason = message
                elif isinstance(message, NoRoom):
                    self.reason = message.message
                    self.full = DiskFullError(message.message, hint=message.hint, needed=message.needed)
                else:
                    self.rows = message
        except (EOFError, OSError):
            self.connection.close()
        return self.rows - before

    def close_run(self) -> int:
        """Receive the last messages of a run that has ended; the number of rows done since the last call."""
        news = self.news()
        if not self.done:
            self.process.join()
            self.connection.close()
        return news

    def terminate(self) -> None:
        """Ask the run to save and end, and wait for it."""
        self.process.terminate()
        self.process.join()
        self.news()

    def dismiss(self) -> None:
        """End an idle worker."""
        with contextlib.suppress(OSError):
            self.connection.send(None)
        self.connection.close()
        self.process.join()

    def why(self) -> str:
        """Why the run failed."""
        code = self.process.exitcode or 0
        if self.reason is not None:
            return self.reason
        return f"process killed by signal {-code}" if code < 0 else f"process ended with exit code {code}"
