"""Many runs, several at a time, each in a process of its own while it lasts, told as one piece of work.

A run that dies takes nothing with it. Runs whose parent dies save and end, so that a study that was killed
leaves nothing behind that works on. A run's result does not depend on how many run beside it or before it.
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
from adasparse_cli.prep.recipe import Progress
from adasparse_cli.studies.best_so_far import BestSoFar
from adasparse_cli.studies.cluster_runs import train_on_cluster
from adasparse_cli.studies.named_run import NamedRun, expected_rows
from adasparse_cli.studies.stop import StopOfStudy
from adasparse_cli.studies.worker import NoRoom, RunDone, serve


def train_all(
    runs: Sequence[NamedRun], progress: Progress, *, workers: int, what: str, best: BestSoFar | None = None
) -> dict[str, str]:
    """Train runs in their order, on the launcher of their jobs; each goes on where it was stopped.

    Args:
        workers: runs at a time, on this machine. best: with it, a line is noted for each run that is finished.

    Returns:
        What failed, by name, with the reason. The others go on.

    Raises:
        InterruptedRun: SIGINT or SIGTERM came; what was begun is saved.
        DiskFullError: the disk has no room for a run; no further run is started.
    """
    if not runs:
        return {}
    if isinstance(launcher := runs[0].job.launcher, ClusterSettings):
        return train_on_cluster(runs, progress, launcher, what=what, best=best)
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
                    progress.advance(one.news(), {"runs done": done, "of": len(runs)})
                    if one.ended:
                        running.remove(one)
                        rows = one.close_run()
                        trained += one.rows
                        full = full or one.full
                        done += one.done
                        if one.done:
                            idle.append(one)
                            if best is not None:
                                value = one.valid.get(best.metric)
                                line = best.line(one.run.name, value, width=width)
                                progress.note(f"{line}  {done} of {len(runs)} runs")
                        elif stop.number is None:
                            failed[one.run.name] = one.why()
                            progress.note(f"{one.run.name} failed: {failed[one.run.name]}")
                        progress.advance(rows, {"runs done": done, "of": len(runs)})
                # how long a run takes is known when it has ended, so far it is a guess
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
    """A process for a run: one that has done another, or a new one."""
    while idle:
        worker = idle.pop()
        if worker.give(run):
            return worker
    worker = Worker()
    worker.give(run)
    return worker


class Worker:
    """A process that trains runs, the run that it has, and what it tells of it."""

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
        # the child keeps SIGINT blocked until it can leave it to the parent; while it loads, it would print a traceback
        resource_tracker.ensure_running()  # which it would start by itself, and unblock SIGINT then
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()

    def give(self, run: NamedRun) -> bool:
        """Let it train a run; False if the process has died meanwhile."""
        self.run, self.rows, self.reason, self.full, self.done = run, 0, None, None, False
        self.valid = {}
        try:
            self.connection.send(run)
        except OSError:
            return False
        return True

    @property
    def ended(self) -> bool:
        """Whether its run has ended, well or not."""
        return self.done or self.process.exitcode is not None

    def sources(self) -> list[Connection | int]:
        return [self.process.sentinel] if self.connection.closed else [self.connection, self.process.sentinel]

    def news(self) -> int:
        """Rows done since it was last asked."""
        before = self.rows
        try:
            while not self.connection.closed and self.connection.poll():
                told = self.connection.recv()
                if isinstance(told, RunDone):
                    self.done, self.valid = True, told.valid
                elif isinstance(told, str):
                    self.reason = told
                elif isinstance(told, NoRoom):
                    self.reason = told.message
                    self.full = DiskFullError(told.message, hint=told.hint, needed=told.needed)
                else:
                    self.rows = told
        except (EOFError, OSError):
            self.connection.close()
        return self.rows - before

    def close_run(self) -> int:
        """Rows done since it was last asked, of a run that has ended."""
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
        """Let a process go that has nothing to do."""
        with contextlib.suppress(OSError):
            self.connection.send(None)
        self.connection.close()
        self.process.join()

    def why(self) -> str:
        """Why the run failed."""
        code = self.process.exitcode or 0
        if self.reason is not None:
            return self.reason
        return f"its process was killed by signal {-code}" if code < 0 else f"its process ended with exit code {code}"
