"""Train many runs, each as a job of a cluster. The counterpart of `workers.py` for `launcher=slurm` and `launcher=ray`.

Only the folder of a run decides whether the run is done. If this command is killed, its jobs continue, and the same command
waits for them. A command submits a job for a run only while it holds the lock of the run's task folder. Two studies that need
the same run therefore submit one job.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from adasparse_cli.cluster.engine import (
    NO_PROGRAM,
    NOT_SHARED,
    ClusterJob,
    Engine,
    EngineBusyError,
    JobState,
    Phase,
    shell_line,
)
from adasparse_cli.cluster.launchers import engine_of
from adasparse_cli.cluster.settings import ClusterSettings
from adasparse_cli.errors import AdasparseError, BusyError, DataError, DiskFullError, ResourceError, UsageError
from adasparse_cli.execution import task as tasks
from adasparse_cli.execution.best_so_far import Best, report_run
from adasparse_cli.execution.job import HINT
from adasparse_cli.execution.named_run import NamedRun, expected_rows
from adasparse_cli.execution.stop import StopOfStudy
from adasparse_cli.files import only_owner
from adasparse_cli.machine.resources import chosen_device
from adasparse_cli.prep.recipe import Progress
from adasparse_cli.runs.saved_run import read_report
from adasparse_cli.runs.train import finished_run
from adasparse_cli.runs.train_job import TrainJob

# Time in which a result must appear after its job has ended, and in which a scheduler must answer.
LAG_SECONDS, SILENT_SECONDS = 60.0, 600.0
# Time that stopped jobs have to save.
STOP_SECONDS = 90.0
# Seconds between two searches for the result of a run whose job another command submitted.
OTHERS_SECONDS = 10.0


def require_launcher(job: TrainJob, workers: int) -> None:
    """Check, before data are prepared, that the launcher can train.

    Raises:
        UsageError: the device or the scheduler is not available, or `--workers` is given for a cluster.
    """
    if not isinstance(job.launcher, ClusterSettings):
        chosen_device(job.device)
        return
    if workers != 1:
        raise UsageError(
            f"--workers applies to this machine, but launcher={job.launcher.name} trains on a cluster",
            hint=f"launcher.jobs={workers} limits the number of jobs",
        )
    engine_of(job.launcher).check()


def train_on_cluster(
    runs: Sequence[NamedRun],
    progress: Progress,
    settings: ClusterSettings,
    *,
    what: str,
    best: Best | None,
    unit: str = "runs",
) -> dict[str, str]:
    """Train runs as jobs; see `workers.train_all`.

    Raises:
        InterruptedRun: SIGINT or SIGTERM arrived; the jobs were asked to save and end.
        UsageError: the scheduler refuses a job, or the nodes lack the program.
        DataError: a node does not see the folders.
        ResourceError: the scheduler did not answer for too long; its jobs continue.
        DiskFullError: the disk is full; no further job is submitted.
    """
    progress.start(what, sum(expected_rows(run) for run in runs), "rows")
    with StopOfStudy() as stop, contextlib.ExitStack() as held:
        crowd = _Crowd(runs, progress, settings, best, unit)
        held.callback(crowd.release)
        crowd.check_once()
        while crowd.busy and stop.number is None:
            crowd.turn()
            _sleep(settings.poll_seconds if crowd.busy else 0.0, stop)
        if stop.number is not None:
            crowd.stop()
            raise stop.stopped(crowd.done, len(runs))
    if crowd.full is not None:
        raise crowd.full
    return crowd.failed


class _Followed:
    """A run and its job."""

    def __init__(self, run: NamedRun) -> None:
        self.run, self.place = run, tasks.place_of(run)
        self.job: tasks.Submitted | None = None
        self.rows, self.tries = 0, 0
        self.ended_since: float | None = None
        self.waits_for = ""
        self._held: contextlib.ExitStack | None = None
        self._looked = 0.0

    @property
    def owned(self) -> bool:
        """Whether this command holds the lock that allows it to submit jobs for the run."""
        return self._held is not None

    def own(self) -> bool:
        """Try to take the lock; False if another command holds it."""
        if self._held is None:
            held = contextlib.ExitStack()
            try:
                held.enter_context(only_owner(self.place))
            except BusyError:
                return False
            self._held = held
        return True

    def release(self) -> None:
        if self._held is not None:
            self._held.close()
            self._held = None

    def finished(self) -> Path | None:
        return finished_run(self.run.job, self.run.prepared)

    def look_for_others(self) -> Path | None:
        """The result of a run whose job another command submitted. Searches rarely, because a search reads many files."""
        if time.monotonic() - self._looked < OTHERS_SECONDS:
            return None
        self._looked = time.monotonic()
        return self.finished()


class _Crowd:
    """All runs of a study: waiting runs, and active runs, which have or get a job."""

    def __init__(
        self, runs: Sequence[NamedRun], progress: Progress, settings: ClusterSettings, best: Best | None, unit: str
    ) -> None:
        self._waiting = [_Followed(run) for run in runs]
        self._active: list[_Followed] = []
        self._progress, self._settings, self._best, self._unit = progress, settings, best, unit
        self._engine: Engine = engine_of(settings)
        self._width, self._count = max(len(run.name) for run in runs), len(runs)
        self._trained = 0
        self._heard, self._silent = time.monotonic(), False
        self.done = 0
        self.failed: dict[str, str] = {}
        self.full: DiskFullError | None = None

    @property
    def busy(self) -> bool:
        return bool(self._active or (self._waiting and self.full is None))

    def check_once(self) -> None:
        """Check the scheduler before the first job."""
        self._engine.check()

    def release(self) -> None:
        for one in self._active:
            one.release()

    def turn(self) -> None:
        """Submit the next jobs, and query and process the states of all jobs."""
        while self._waiting and len(self._active) < self._settings.jobs and self.full is None:
            self._active.append(self._waiting.pop(0))
        with self._patience():
            for one in list(self._active):
                if one.job is None:
                    self._begin(one)
            known = {one.job.id: one for one in self._active if one.job is not None and one.job.id is not None}
            states = self._engine.states([own for own in known if own is not None])
            for own, one in known.items():
                self._follow(one, states.get(own or "", JobState(phase=Phase.unknown)))
        ahead = sum(max(expected_rows(one.run), one.rows) for one in self._active)
        self._progress.expect(self._trained + ahead + sum(expected_rows(one.run) for one in self._waiting))

    def stop(self) -> None:
        """Ask the jobs of this command to save and end, and wait for their end."""
        own = [one for one in self._active if one.owned and one.job is not None and one.job.id is not None]
        ids = [one.job.id for one in own if one.job is not None and one.job.id is not None]
        end = time.monotonic() + STOP_SECONDS
        with contextlib.suppress(EngineBusyError):
            self._engine.cancel(ids)
            while time.monotonic() < end:
                if all(state.phase in (Phase.ended, Phase.unknown) for state in self._engine.states(ids).values()):
                    break
                time.sleep(min(1.0, self._settings.poll_seconds))
        self.done += sum(one.finished() is not None for one in self._active)

    @contextlib.contextmanager
    def _patience(self) -> Iterator[None]:
        """Wait if the scheduler does not answer, up to `SILENT_SECONDS`."""
        try:
            yield
        except EngineBusyError as busy:
            if time.monotonic() - self._heard > SILENT_SECONDS:
                raise ResourceError(
                    f"{busy.message}; no answer for {SILENT_SECONDS / 60:.0f} minutes",
                    hint="submitted jobs continue; the same command waits for them",
                ) from None
            if not self._silent:
                self._progress.note(f"{busy.message}; waiting")
            self._silent = True
        else:
            self._heard, self._silent = time.monotonic(), False

    def _begin(self, one: _Followed) -> None:
        """Submit a job for a run, or find its job that was submitted before."""
        if not one.own():
            if (folder := one.look_for_others()) is not None:
                self._end(one, folder)
            return
        if (folder := one.finished()) is not None:
            self._end(one, folder)
            return
        if one.tries == 0 and (known := self._submitted_before(one)) is not None:
            self._progress.note(f"{one.run.name}: waiting for job {known.id}, which was submitted before")
            one.job, one.tries = known, 1
            return
        name = f"adasparse-{one.place.name[:8]}-{secrets.token_hex(3)}"
        tasks.write_task(one.place, one.run, name)
        submitted = tasks.Submitted(job=name, launcher=self._settings.name, id=None)
        tasks.write_submitted(one.place, submitted)
        job = ClusterJob(name=name, line=self._line(one), cpus=self._settings.cpus or one.run.job.threads or 1)
        one.job = tasks.Submitted(job=name, launcher=submitted.launcher, id=self._engine.submit(job))
        one.tries += 1
        one.ended_since = None
        tasks.write_submitted(one.place, one.job)

    def _submitted_before(self, one: _Followed) -> tasks.Submitted | None:
        """A job for this run that an earlier command submitted and that has not ended."""
        found = tasks.read_submitted(one.place)
        if found is None or found.launcher != self._settings.name:
            return None
        own = found.id or self._engine.find(found.job)
        if own is None or self._engine.states([own])[own].phase not in (Phase.waiting, Phase.running):
            return None
        return tasks.Submitted(job=found.job, launcher=found.launcher, id=own)

    def _line(self, one: _Followed) -> str:
        paths = [str(Path(own or ".").absolute()) for own in os.environ.get("PYTHONPATH", "").split(os.pathsep) if own]
        return shell_line(
            python=self._settings.python or sys.executable,
            module="adasparse_cli.execution.job",
            task=one.place / tasks.TASK,
            folder=Path.cwd(),
            log=one.place / tasks.LOG,
            python_path=os.pathsep.join(paths),
        )

    def _follow(self, one: _Followed, state: JobState) -> None:
        assert one.job is not None
        told = tasks.read_told(one.place, one.job.job)
        if told is not None and told.rows > one.rows:
            self._advance(told.rows - one.rows)
            one.rows = told.rows
        if state.phase is Phase.waiting and state.why and state.why != one.waits_for:
            one.waits_for = state.why
            self._progress.note(f"{one.run.name}: job {one.job.id} waits: {state.why}")
        ended = state.phase in (Phase.ended, Phase.unknown) or (told is not None and told.ended is not None)
        if not ended:
            return
        if (folder := one.finished()) is not None:
            self._end(one, folder)
            return
        if one.ended_since is None:
            one.ended_since = time.monotonic()
        since = time.monotonic() - one.ended_since
        by_itself = told is not None and told.ended == "failed"
        says_done = (told is not None and told.ended == "done") or state.exit_code == 0
        # the last state that the job wrote may appear here with a delay
        if not by_itself and since < (LAG_SECONDS if says_done else min(LAG_SECONDS, 2 * self._settings.poll_seconds)):
            return
        self._settle(one, state, told)

    def _settle(self, one: _Followed, state: JobState, told: tasks.Told | None) -> None:
        """Handle a job that ended without a result: fail, stop the study, or resubmit."""
        assert one.job is not None
        node = state.node or (told.node if told is not None else "") or "a node"
        log = one.place / tasks.LOG
        if told is not None and told.ended == "failed":
            if told.of_all:
                self._give_up(DataError(told.reason, hint=told.hint))
            if told.needed is not None:
                self.full = DiskFullError(told.reason, hint=told.hint, needed=told.needed)
            self._fail(one, told.reason)
        elif told is not None and told.ended == "done":
            self._give_up(
                DataError(
                    f"{node} reports that {one.run.name} is done, but its result is not in {one.run.job.runs}",
                    hint=HINT,
                )
            )
        elif state.exit_code == NOT_SHARED:
            self._give_up(DataError(f"node {node} does not see {Path.cwd()} or {one.place}", hint=HINT))
        elif state.exit_code in NO_PROGRAM:
            python = self._settings.python or sys.executable
            self._give_up(
                UsageError(
                    f"node {node} cannot start {python}",
                    hint="set launcher.python=PATH to the Python interpreter on the nodes",
                )
            )
        elif state.exit_code and (told is None or told.ended is None) and state.exit_code < 128:
            self._fail(one, f"its job {one.job.id} ended with exit code {state.exit_code}: {_last_line(log)} ({log})")
        elif state.again and one.tries <= self._settings.retries:
            self._progress.note(
                f"{one.run.name}: job {one.job.id} was ended from outside ({_why(state)}); resubmitting"
            )
            one.job = None
        else:
            times = f", the last of {one.tries} jobs" if one.tries > 1 else ""
            memory = "; launcher.memory_gib=N requests more memory" if state.why == "OUT_OF_MEMORY" else ""
            self._fail(one, f"its job {one.job.id} was ended from outside ({_why(state)}{times}){memory}")

    def _give_up(self, error: AdasparseError) -> None:
        """Cancel all jobs, because each would fail in the same way."""
        with contextlib.suppress(EngineBusyError):
            self._engine.cancel([one.job.id for one in self._active if one.owned and one.job and one.job.id])
        raise error

    def _fail(self, one: _Followed, reason: str) -> None:
        self.failed[one.run.name] = reason
        self._progress.note(f"{one.run.name} failed: {reason}")
        self._leave(one)

    def _end(self, one: _Followed, folder: Path) -> None:
        self.done += 1
        if self._best is not None:
            after = f"  {self.done} of {self._count} {self._unit}"
            metrics = read_report(folder)["metrics"].get("valid", {})
            report_run(self._best, self._progress, one.run, metrics, after=after, width=self._width)
        if one.owned:
            shutil.rmtree(one.place, ignore_errors=True)
        self._leave(one)

    def _leave(self, one: _Followed) -> None:
        self._active.remove(one)
        self._trained += one.rows
        one.release()
        self._advance(0)

    def _advance(self, rows: int) -> None:
        self._progress.advance(rows, {"runs done": (self.done, self._count)})


def _why(state: JobState) -> str:
    return state.why or ("the scheduler has no record of it" if state.phase is Phase.unknown else "no reason given")


def _last_line(log: Path) -> str:
    with contextlib.suppress(OSError):
        lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
        if lines:
            return f"{lines[-1].strip():.300}"
    return "no output"


def _sleep(seconds: float, stop: StopOfStudy) -> None:
    end = time.monotonic() + seconds
    while stop.number is None and (left := end - time.monotonic()) > 0:
        time.sleep(min(0.2, left))
