"""What the scheduler of a cluster does for a study: start the command of a job, say how it stands, end it.

Nothing is pickled: a job is a line for the shell that names a file of JSON.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from adasparse_cli.errors import AdasparseError

# Exit code of a job whose node does not see the folders; no command of adasparse ends with it.
NOT_SHARED = 91
# What a shell says of a program that is not there or cannot be run.
NO_PROGRAM = (126, 127)


class Phase(StrEnum):
    """How far a job is."""

    waiting = "waiting"
    running = "running"
    ended = "ended"
    unknown = "unknown"  # the scheduler has forgotten it


@dataclass(frozen=True, kw_only=True)
class JobState:
    """A job as its scheduler sees it.

    Args:
        why: the scheduler's word for it, such as TIMEOUT, or for what a job waits for; empty if there is none.
        exit_code: of a job that ended by itself, if known.
        node: where it runs or ran, if known.
        again: whether a job that was ended from outside may do better if it is submitted again.
    """

    phase: Phase
    why: str = ""
    exit_code: int | None = None
    node: str = ""
    again: bool = True


@dataclass(frozen=True, kw_only=True)
class ClusterJob:
    """What a scheduler needs to know of a job.

    Args:
        name: no other job has it, over all attempts.
        line: for `sh`.
        cpus: cores that it uses.
    """

    name: str
    line: str
    cpus: int


class EngineBusyError(AdasparseError):
    """The scheduler does not answer, or takes no further job now; it may later."""


class Engine(Protocol):
    """A scheduler. All methods but `check` raise `EngineBusyError` where it does not answer."""

    def check(self) -> None:
        """Whether it is there.

        Raises:
            UsageError: it is not.
        """

    def submit(self, job: ClusterJob) -> str:
        """Queue a job; the scheduler's name for it. A job of this name that is there already is not queued again.

        Raises:
            UsageError: the job can never run, such as in a partition that does not exist.
        """

    def find(self, name: str) -> str | None:
        """The scheduler's name for the job with our `name`, if it knows one."""

    def states(self, ids: Sequence[str]) -> Mapping[str, JobState]:
        """How jobs stand, each by the scheduler's name for it."""

    def cancel(self, ids: Sequence[str]) -> None:
        """Ask jobs to save and end; those that wait are dropped."""


def shell_line(*, python: str, module: str, task: Path, folder: Path, log: Path, python_path: str) -> str:
    """The line that a job runs: go to the folder of the command, and become the Python program.

    The program replaces the shell, so that signals reach it.

    Args:
        module: is run with the path of `task`.
        folder: current folder of the command that started the study.
        python_path: PYTHONPATH of that command, absolute.
    """
    seen = f"cd {shlex.quote(str(folder))} && test -r {shlex.quote(str(task))} || exit {NOT_SHARED}"
    words = [python, "-P", "-m", module, str(task)]  # -P: the current folder may hold anyone's modules
    return f"{seen}; PYTHONPATH={shlex.quote(python_path)} exec {shlex.join(words)} >> {shlex.quote(str(log))} 2>&1"
