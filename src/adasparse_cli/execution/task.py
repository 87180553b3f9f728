"""What a job of a cluster reads and writes, in a folder of the run that it trains: `paths.runs/.jobs/<digest>/`.

task.json    what to train, on which data, and what the job must find to be where it should be
job.json     which job was submitted for it; written before and after it is submitted
state.json   what the job tells: rows done, how it ended and why
job.log      what it prints

The folder belongs to the command that follows the run, and is removed when the run is done. All files are JSON; nothing is pickled.
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
        name: of the run in its study. job: name of the job, which no other has.
        config: the resolved configuration.
        data, runs: folders, absolute. fingerprint: of the data.
        token: content of the file `.shared` in `runs`, by which a job knows that it sees the same folder.
        versions: of the packages that must be the same.
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
    """A job that was submitted, or was about to be.

    Args:
        job: our name for it. id: the scheduler's; None until it is known.
        launcher: the launcher's name.
    """

    job: str
    launcher: str
    id: str | None


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a job tells.

    Args:
        job: which job. node: where it runs. rows: passed so far.
        ended: None while it runs, else `done`, `failed` or `stopped`.
        reason, hint: of a failure. exit_code: its own.
        needed: bytes that a full disk lacks, else None.
        of_all: whether every job of the study would fail so.
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
    """The versions that a job must have: weights depend on them."""
    return {name: version(name) for name in ("adasparse-cli", "torch")}


def place_of(run: NamedRun) -> Path:
    """The folder of a run's task: the same for every command that needs the run."""
    told = [what_it_computes(plain(run.job.config)), run.prepared.manifest.fingerprint]
    digest = hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()
    return run.job.runs.absolute() / JOBS / digest[:16]


def write_task(place: Path, run: NamedRun, job: str) -> None:
    """Write the task of a run.

    Raises:
        UsageError: its settings hold a password, which does not belong into a file.
    """
    config = plain(run.job.config)
    if without_passwords(to_yaml(config)) != to_yaml(config):
        raise UsageError(
            "a setting holds a password, and the settings of a job are written to a file",
            hint="leave it out of tracking.uri; MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD are MLflow's variables for it",
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
    """The content of `.shared` in the folder of all runs, which is written once."""
    path = runs / SHARED
    with only_owner(runs, wait=True):
        if not path.exists():
            write_text(path, secrets.token_hex(16) + "\n")
        return path.read_text(encoding="utf-8").strip()


def read_task(path: Path) -> Task:
    """A task.

    Raises:
        IntegrityError: it is missing, damaged or of another version.
    """
    return _read(path, Task)


def named_run(task: Task, manifest: Manifest) -> NamedRun:
    """The run of a task, on data that were found."""
    folder, section = Path(task.data), dict(task.config["data"])
    settings = typed(section, recipe_named(str(section["recipe"])).Settings, "data")
    job = job_of(task.config, PrepJob(settings=settings, raw=(), folder=folder, raw_named=False))
    prepared = PrepReport(folder=folder, manifest=manifest, fresh=False, elapsed_seconds=0.0)
    return NamedRun(name=task.name, job=job, prepared=prepared)


def write_submitted(place: Path, submitted: Submitted) -> None:
    """Remember which job trains a run."""
    write_sealed(place / JOB, {VERSION_KEY: VERSION, **asdict(submitted)})


def read_submitted(place: Path) -> Submitted | None:
    """The job that was submitted last; None where there is none."""
    with contextlib.suppress(IntegrityError, OSError):
        return _read(place / JOB, Submitted)
    return None


def write_told(place: Path, told: Told) -> None:
    """Tell how far a job is."""
    write_sealed(place / STATE, {VERSION_KEY: VERSION, **asdict(told)})


def read_told(place: Path, job: str) -> Told | None:
    """What a job told last; None where it has told nothing yet."""
    with contextlib.suppress(IntegrityError, OSError):
        told = _read(place / STATE, Told)
        return told if told.job == job else None
    return None


def _read(path: Path, kind: type[T]) -> T:
    values = read_sealed(path, VERSION_KEY, unsealed=object())
    if values.pop(VERSION_KEY) != VERSION:
        raise IntegrityError(f"{path} is of another version", hint="stop the study and start it with one version")
    require_types(values, kind, path, hint="start the study once more")
    return kind(**values)
