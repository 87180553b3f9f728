"""Many runs, each in a process of its own, several at a time, told as one piece of work.

A run that dies takes nothing with it. Runs whose parent dies save and end, so that a study that was killed
leaves nothing behind that works on. A run's result does not depend on how many run beside it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import FrameType

from adasparse_cli.choices import Split
from adasparse_cli.errors import AdasparseError, BusyError, DiskFullError, InterruptedRun
from adasparse_cli.files import disk_is_full, no_room
from adasparse_cli.prep.recipe import Progress, Silent
from adasparse_cli.runs.prepare import PrepReport
from adasparse_cli.runs.train import TrainJob, run_train

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


def train_all(runs: Sequence[NamedRun], progress: Progress, *, workers: int, what: str) -> dict[str, str]:
    """Train runs, `workers` at a time, in their order; each goes on where it was stopped.

    Returns:
        What failed, by name, with the reason. The others go on.

    Raises:
        InterruptedRun: SIGINT or SIGTERM came; what was begun is saved.
        DiskFullError: the disk has no room for a run; no further run is started.
    """
    if not runs:
        return {}
    progress.start(what, sum(expected_rows(run) for run in runs), "rows")
    waiting, done = list(runs), 0
    running: list[_Process] = []
    failed: dict[str, str] = {}
    full: DiskFullError | None = None
    with _Stop() as stop:
        while running or (waiting and full is None):
            while waiting and len(running) < workers and stop.number is None and full is None:
                running.append(_Process(waiting.pop(0)))
            wait([source for one in running for source in one.sources()], timeout=0.5)
            for one in list(running):
                progress.advance(one.news(), {"runs done": done, "of": len(runs)})
                if one.process.exitcode is not None:
                    running.remove(one)
                    rows = one.close()
                    full = full or one.full
                    done += not one.process.exitcode
                    if one.process.exitcode and stop.number is None:
                        failed[one.run.name] = one.why()
                        progress.note(f"{one.run.name} failed: {failed[one.run.name]}")
                    progress.advance(rows, {"runs done": done, "of": len(runs)})
            if stop.number is not None:
                for one in running:
                    one.process.terminate()
                for one in running:
                    one.process.join()
                    done += not one.process.exitcode
                left = f"{len(runs) - done} of {len(runs)} runs are still to be done"
                raise InterruptedRun(
                    f"stopped; {left}" if done < len(runs) else "stopped when all runs were done",
                    hint="the same command continues with what is missing",
                    exit_code=128 + stop.number,
                )
    if full is not None:
        raise full
    return failed


@dataclass
class _Process:
    """One run at work, and what it tells."""

    run: NamedRun
    rows: int = 0
    reason: str | None = None
    full: DiskFullError | None = None
    process: SpawnProcess = field(init=False)
    ear: Connection = field(init=False)

    def __post_init__(self) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.ear, mouth = spawn.Pipe(duplex=False)
        self.process = spawn.Process(target=_train_alone, args=(self.run, mouth))
        # the child keeps SIGINT blocked until it can leave it to the parent; while it loads, it would print a traceback
        resource_tracker.ensure_running()  # which it would start by itself, and unblock SIGINT then
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        mouth.close()

    def sources(self) -> list[Connection | int]:
        return [self.process.sentinel] if self.ear.closed else [self.ear, self.process.sentinel]

    def news(self) -> int:
        """Rows done since it was last asked."""
        before = self.rows
        try:
            while not self.ear.closed and self.ear.poll():
                told = self.ear.recv()
                if isinstance(told, str):
                    self.reason = told
                elif isinstance(told, _NoRoom):
                    self.reason = told.message
                    self.full = DiskFullError(told.message, hint=told.hint, needed=told.needed)
                else:
                    self.rows = told
        except (EOFError, OSError):
            self.ear.close()
        return self.rows - before

    def close(self) -> int:
        """Rows that will not come any more, since the run has ended."""
        news = self.news()
        self.ear.close()
        self.process.join()
        return news + max(expected_rows(self.run) - self.rows, 0)

    def why(self) -> str:
        """Why the run failed."""
        code = self.process.exitcode or 0
        if self.reason is not None:
            return self.reason
        return f"its process was killed by signal {-code}" if code < 0 else f"its process ended with exit code {code}"


@dataclass(frozen=True)
class _NoRoom:
    """What a run tells of a full disk."""

    message: str
    hint: str
    needed: int


class _Told(Silent):
    """Progress that is told to the parent now and then; only the rows trained on count."""

    def __init__(self, expected: int, mouth: Connection) -> None:
        self._expected, self._mouth = expected, mouth
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
        if now - self._spoke > TOLD_SECONDS:
            self._spoke = now
            tell(self._mouth, self._rows)


def tell(mouth: Connection, news: int | str | _NoRoom) -> None:
    """Tell the parent. If it has died, that is no fault of the run, which is about to be asked to save and end."""
    with contextlib.suppress(OSError):
        mouth.send(news)


def _train_alone(run: NamedRun, mouth: Connection) -> None:
    """What the process of one run does."""
    # Ctrl-C in the terminal is for the parent, which asks its children to save
    os.setpgrp()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT,))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        _train_when_free(run, _Told(expected_rows(run), mouth))
    except InterruptedRun as stopped:
        raise SystemExit(stopped.exit_code) from None
    except KeyboardInterrupt:  # a second SIGTERM
        raise SystemExit(128 + signal.SIGTERM) from None
    except Exception as error:
        if disk_is_full(error):
            where = Path(getattr(error, "filename", None) or run.job.runs)
            full = error if isinstance(error, DiskFullError) else no_room(where)
            tell(mouth, _NoRoom(full.message, full.hint, full.needed))
            raise SystemExit(full.exit_code) from None
        if isinstance(error, AdasparseError):
            tell(mouth, error.message)
            raise SystemExit(error.exit_code) from None
        tell(mouth, f"{type(error).__name__}: {error}")
        raise SystemExit(1) from None


def _train_when_free(run: NamedRun, progress: Progress) -> None:
    while True:
        try:
            run_train(run.job, progress, resume=True, prepared=run.prepared)
        except BusyError:  # another study trains the same; its result will be ours
            time.sleep(BUSY_SECONDS)
        else:
            return


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)


class _Stop:
    """Remembers SIGINT or SIGTERM, so that runs can be asked to save.

    A signal that came after the last run had ended is passed on to the handler from before.
    """

    number: int | None = None

    def __enter__(self) -> _Stop:
        def wish(number: int, frame: FrameType | None) -> None:
            self.number = number

        self._old: dict[int, Callable[..., object] | int | None] = {}
        try:
            self._old = {number: signal.signal(number, wish) for number in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:  # not in the main thread: signals are someone else's business
            self._old = {}
        return self

    def __exit__(self, *raised: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)
        if self.number is not None and raised[0] is None:
            signal.raise_signal(self.number)
