"""The interface to the scheduler of a cluster: submit jobs, query their states, cancel them.

Nothing is pickled: a job is a shell command whose argument is a JSON file.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from adasparse_cli.errors import AdasparseError

# Exit code of a job whose node does not see the folders. No command of adasparse has this exit code.
NOT_SHARED = 91
# Exit codes of a shell for a program that cannot be run or does not exist.
NO_PROGRAM = (126, 127)


class Phase(StrEnum):
    """State of a job."""

    waiting = "waiting"
    running = "running"
    ended = "ended"
    unknown = "unknown"  # the scheduler has no record of the job


@dataclass(frozen=True, kw_only=True)
class JobState:
    """The state of a job according to its scheduler.

    Args:
        why: the scheduler's reason for the state, such as TIMEOUT, or what a waiting job waits for; empty if unknown.
        exit_code: exit code of a job that ended by itself; None if unknown.
        node: node of the job; empty if unknown.
        again: whether resubmitting a job that was ended from outside may help.
    """

    phase: Phase
    why: str = ""
    exit_code: int | None = None
    node: str = ""
    again: bool = True


@dataclass(frozen=True, kw_only=True)
class ClusterJob:
    """A job for a scheduler.

    Args:
        name: unique name; each attempt at a run has another name.
        line: command for `sh`.
        cpus: number of cores.
    """

    name: str
    line: str
    cpus: int


class EngineBusyError(AdasparseError):
    """The scheduler does not answer, or accepts no further jobs at the moment. A retry may succeed."""


class Engine(Protocol):
    """A scheduler. All methods except `check` raise `EngineBusyError` if it does not answer."""

    def check(self) -> None:
        """Check that the scheduler is available.

        Raises:
            UsageError: the scheduler is not available.
        """

    def submit(self, job: ClusterJob) -> str:
        """Submit a job and return the scheduler's id. A job whose name exists already is not submitted again.

        Raises:
            UsageError: the job can never run, for example because its partition does not exist.
        """

    def find(self, name: str) -> str | None:
        """The scheduler's id of the job with this name; None if there is no such job."""

    def states(self, ids: Sequence[str]) -> Mapping[str, JobState]:
        """The states of jobs by the scheduler's id."""

    def cancel(self, ids: Sequence[str]) -> None:
        """Ask running jobs to save and end, and remove waiting jobs from the queue."""


def shell_line(*, python: str, module: str, task: Path, folder: Path, log: Path, python_path: str) -> str:
    """The shell command of a job. It changes to the folder of the study's command and replaces the shell by Python.

    Because Python replaces the shell, signals reach it.

    Args:
        module: module to run, with the path of `task` as its argument.
        folder: current folder of the command that started the study.
        python_path: PYTHONPATH of that command; its paths are absolute.
    """
    seen = f"cd {shlex.quote(str(folder))} && test -r {shlex.quote(str(task))} || exit {NOT_SHARED}"
    words = [
        python,
        "-P",
        "-m",
        module,
        str(task),
    ]  # -P: no import from the current folder, which may contain modules of other users
    return f"{seen}; PYTHONPATH={shlex.quote(python_path)} exec {shlex.join(words)} >> {shlex.quote(str(log))} 2>&1"
