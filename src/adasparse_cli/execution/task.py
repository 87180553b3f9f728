"""Files through which a study and the job of a run communicate, in the run's task folder `paths.runs/.jobs/<digest>/`.

task.json    the configuration, the data, and what the job verifies: versions, fingerprint, token of the folder
job.json     the submitted job; written before and after it is submitted
state.json   state of the job: rows done, how and why it ended
job.log      output of the job

The command that holds the folder's lock submits the job, and removes the folder after the run is done. Nothing is pickled.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from adasparse_cli.errors import IntegrityError, UsageError
from adasparse_cli.execution.named_run import NamedRun
from adasparse_cli.files import only_owner, read_sealed, write_sealed, write_text
from adasparse_cli.prep.recipe import recipe_named
from adasparse_cli.runs.prepare import PrepJob, PrepReport
from adasparse_cli.runs.run_folder import what_it_computes
from adasparse_cli.runs.train_job import job_of
from adasparse_cli.schema import Manifest
from adasparse_cli.typed import plain, require_types, to_yaml, typed, without_passwords

JOBS, SHARED = ".jobs", ".shared"
TASK, JOB, STATE, LOG = "task.json", "job.json", "state.json", "job.log"
VERSION_KEY, VERSION = "task_version", 1
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Task:
    """A run for a job.

    Args:
        name: name of the run in its study.
        job: unique name of the job.
        config: the resolved configuration.
        data: absolute path of the prepared data.
        fingerprint: fingerprint of the prepared data.
        runs: absolute path of the folder of runs.
        token: content of the file `.shared` in `runs`, with which a job verifies that it sees the same folder.
        versions: versions by package, which must be the same on the node.
    """

    name: str
    job: str
    config: Mapping[str, Any]
    data: str
    fingerprint: str
    runs: str
    token: str
    versions: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """A job that was submitted, or is about to be submitted.

    Args:
        job: unique name of the job.
        launcher: name of the launcher.
        id: the scheduler's id of the job; None until it is known.
    """

    job: str
    launcher: str
    id: str | None


@dataclass(frozen=True, kw_only=True)
class Told:
    """The state that a job reports.

    Args:
        job: unique name of the job.
        node: node on which it runs.
        rows: number of training rows done.
        ended: None while it runs; then `done`, `failed` or `stopped`.
        reason: reason of a failure or a stop.
        hint: hint of a failure.
        exit_code: exit code of the job.
        needed: number of bytes that are missing on a full disk; otherwise None.
        of_all: whether every job of the study would fail in the same way.
    """

    job: str
    node: str
    rows: int = 0
    ended: str | None = None
    reason: str = ""
    hint: str = ""
    exit_code: int = 0
    needed: int | None = None
    of_all: bool = False


def versions() -> dict[str, str]:
    """Versions of the packages on which the weights depend. A job must have the same versions."""
    return {name: version(name) for name in ("adasparse-cli", "torch")}


def place_of(run: NamedRun) -> Path:
    """The task folder of a run. All commands that need the run use the same folder."""
    told = [what_it_computes(plain(run.job.config)), run.prepared.manifest.fingerprint]
    digest = hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()
    return run.job.runs.absolute() / JOBS / digest[:16]


def write_task(place: Path, run: NamedRun, job: str) -> None:
    """Write the task of a run.

    Raises:
        UsageError: a setting contains a password, which must not be written to a file.
    """
    config = plain(run.job.config)
    if without_passwords(to_yaml(config)) != to_yaml(config):
        raise UsageError(
            "a setting contains a password, but the settings of a job are written to a file",
            hint="remove it from tracking.uri; set MLflow's variables MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD instead",
        )
    task = Task(
        name=run.name,
        job=job,
        config=config,
        data=str(run.prepared.folder.absolute()),
        fingerprint=run.prepared.manifest.fingerprint,
        runs=str(run.job.runs.absolute()),
        token=shared_token(run.job.runs),
        versions=versions(),
    )
    write_sealed(place / TASK, {VERSION_KEY: VERSION, **asdict(task)})


def shared_token(runs: Path) -> str:
    """The content of `.shared` in the folder of runs. The file is written once, with a random text."""
    path = runs / SHARED
    with only_owner(runs, wait=True):
        if not path.exists():
            write_text(path, secrets.token_hex(16) + "\n")
        return path.read_text(encoding="utf-8").strip()


def read_task(path: Path) -> Task:
    """Read a task.

    Raises:
        IntegrityError: the file is missing, damaged or of another version.
    """
    return _read(path, Task)


def named_run(task: Task, manifest: Manifest) -> NamedRun:
    """The run of a task, on the prepared data with this manifest."""
    folder, section = Path(task.data), dict(task.config["data"])
    settings = typed(section, recipe_named(str(section["recipe"])).Settings, "data")
    job = job_of(task.config, PrepJob(settings=settings, raw=(), folder=folder, raw_named=False))
    prepared = PrepReport(folder=folder, manifest=manifest, fresh=False, elapsed_seconds=0.0)
    return NamedRun(name=task.name, job=job, prepared=prepared)


def write_submitted(place: Path, submitted: Submitted) -> None:
    """Write which job trains a run."""
    write_sealed(place / JOB, {VERSION_KEY: VERSION, **asdict(submitted)})


def read_submitted(place: Path) -> Submitted | None:
    """The job that was submitted last; None if there is none."""
    with contextlib.suppress(IntegrityError, OSError):
        return _read(place / JOB, Submitted)
    return None


def write_told(place: Path, told: Told) -> None:
    """Write the state of a job."""
    write_sealed(place / STATE, {VERSION_KEY: VERSION, **asdict(told)})


def read_told(place: Path, job: str) -> Told | None:
    """The state that a job reported last; None if it has not reported yet."""
    with contextlib.suppress(IntegrityError, OSError):
        told = _read(place / STATE, Told)
        return told if told.job == job else None
    return None


def _read(path: Path, kind: type[T]) -> T:
    values = read_sealed(path, VERSION_KEY, unsealed=object())
    if values.pop(VERSION_KEY) != VERSION:
        raise IntegrityError(f"{path} is of another version", hint="stop the study and start it with one version")
    require_types(values, kind, path, hint="run the command of the study again")
    return kind(**values)
