"""Slurm, through its commands `sbatch`, `squeue`, `scontrol`, `sacct` and `scancel`.

`squeue` lists a job for some minutes after its end (Slurm's MinJobAge). `sacct` lists it longer, if accounting is enabled.
"""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from adasparse_cli.choices import Between
from adasparse_cli.cluster.engine import ClusterJob, EngineBusyError, JobState, Phase
from adasparse_cli.cluster.settings import ClusterSettings
from adasparse_cli.errors import UsageError

COMMANDS = ("sbatch", "squeue", "scontrol", "scancel")
# Slurm asks a job to save this long before the time limit.
SAVING_SECONDS = 60
PATIENCE_SECONDS = 60
_WAITING = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD"}
_RUNNING = {"RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "RESIZING", "STAGE_OUT"}
# Usual reasons for waiting, which are not reported.
_USUAL = {"None", "Priority", "Resources"}
# End states after which a job is not resubmitted: it would fail again, or a user cancelled it.
_FOR_GOOD = {"CANCELLED", "OUT_OF_MEMORY"}
# Messages of temporary refusals. All other refusals are final.
_LATER = re.compile(
    r"MaxSubmitJob|MaxJobCount|temporarily|timed out|Unable to contact|try again|Connection refused", re.I
)


@dataclass(frozen=True, kw_only=True)
class Settings(ClusterSettings):
    """Runs as jobs of Slurm.

    Args:
        partition: partition; null for Slurm's default.
        account: account; null for Slurm's default.
        minutes: time limit of a job in minutes; null for Slurm's default. A job that reaches it saves, and is resubmitted.
        options: further options of `sbatch`, such as `--qos=night`.
    """

    partition: str | None
    account: str | None
    minutes: Annotated[int, Between(1)] | None
    options: tuple[str, ...]


class Slurm:
    """The Slurm cluster to which this machine submits jobs."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def check(self) -> None:
        """Check that Slurm's commands are installed and that Slurm answers."""
        missing = [name for name in COMMANDS if shutil.which(name) is None]
        if missing:
            raise UsageError(
                f"launcher=slurm: the command {missing[0]} is not installed on this machine",
                hint="run the command on a machine that submits jobs to Slurm; launcher=local trains on this machine",
            )
        done = _said("scontrol", "ping")
        if done.returncode:
            raise UsageError(
                f"launcher=slurm: Slurm does not answer: {_last(done)}",
                hint="`scontrol ping` shows whether Slurm is running",
            )

    def submit(self, job: ClusterJob) -> str:
        """Submit a job."""
        done = _said(*sbatch_words(self._settings, job), text=script(job))
        if done.returncode == 0:
            return done.stdout.strip().split(";")[0]
        if _LATER.search(done.stderr):
            raise EngineBusyError(
                f"Slurm accepts no further job at the moment: {_last(done)}", hint="adasparse retries"
            )
        raise UsageError(
            f"Slurm refused the job {job.name}: {_last(done)}",
            hint="check launcher.partition, account, cpus, gpus, memory_gib, minutes and options; `sinfo` lists partitions",
        )

    def find(self, name: str) -> str | None:
        """The id of a job with this name that waits, runs, or ended a short time ago."""
        done = _answer("squeue", "--noheader", "--states=all", f"--name={name}", "--format=%i")
        return next(iter(done.stdout.split()), None)

    def states(self, ids: Sequence[str]) -> Mapping[str, JobState]:
        """One query for all jobs, and another query for each job that has ended."""
        if not ids:
            return {}
        done = _said("squeue", "--noheader", "--states=all", f"--jobs={','.join(ids)}", "--format=%i|%T|%r|%N")
        # squeue fails for a single job without a record, and omits such a job among several
        if done.returncode and "Invalid job id" not in done.stderr:
            raise EngineBusyError(f"Slurm does not answer: {_last(done)}", hint="adasparse retries")
        found = queue_states(done.stdout)
        return {
            own: found[own] if own in found and found[own].phase is not Phase.ended else self._end(own) for own in ids
        }

    def cancel(self, ids: Sequence[str]) -> None:
        """Send SIGTERM to the programs. Slurm kills them after its KillWait."""
        if ids:
            _answer("scancel", *ids)

    def _end(self, own: str) -> JobState:
        done = _said("scontrol", "--oneliner", "show", "job", own)
        if done.returncode == 0:
            return shown_end(done.stdout)
        if shutil.which("sacct") is not None:
            done = _said(
                "sacct",
                "--noheader",
                "--allocations",
                "--parsable2",
                f"--jobs={own}",
                "--format=State,ExitCode,NodeList",
            )
            if done.returncode == 0 and done.stdout.count("|") >= 2:
                state, code, node = done.stdout.splitlines()[0].split("|")[:3]
                return ended(state.split()[0], code, node)
        return JobState(phase=Phase.unknown)


def sbatch_words(settings: Settings, job: ClusterJob) -> list[str]:
    """The command that submits a job. It reads the script from standard input."""
    words = [
        "sbatch",
        "--parsable",
        f"--job-name={job.name}",
        "--output=/dev/null",
        "--no-requeue",
        "--nodes=1",
        "--ntasks=1",
    ]
    words += [f"--cpus-per-task={job.cpus}", f"--signal=B:TERM@{SAVING_SECONDS}"]
    asked = {
        "partition": settings.partition,
        "account": settings.account,
        "time": settings.minutes,
        "gpus": settings.gpus or None,
        "mem": None if settings.memory_gib is None else f"{math.ceil(settings.memory_gib * 1024)}M",
    }
    return [*words, *(f"--{key}={value}" for key, value in asked.items() if value is not None), *settings.options]


def script(job: ClusterJob) -> str:
    """The script of a job."""
    return f"#!/bin/sh\n{job.line}\n"


def queue_states(text: str) -> dict[str, JobState]:
    """The states of jobs from the output of `squeue` in the format `%i|%T|%r|%N`."""
    found = {}
    for line in text.splitlines():
        own, state, why, node = line.strip().split("|", 3)
        phase = Phase.waiting if state in _WAITING else Phase.running if state in _RUNNING else Phase.ended
        found[own] = JobState(phase=phase, why=why if phase is Phase.waiting and why not in _USUAL else "", node=node)
    return found


def shown_end(text: str) -> JobState:
    """The state of an ended job from the output of `scontrol show job`."""
    values = dict(part.split("=", 1) for part in text.split() if "=" in part)
    return ended(values.get("JobState", ""), values.get("ExitCode", ""), values.get("BatchHost", ""))


def ended(state: str, code: str, node: str) -> JobState:
    """The state of an ended job. It has an exit code if Slurm reports COMPLETED or FAILED.

    Args:
        code: exit code and signal, as `CODE:SIGNAL`.
    """
    own = re.fullmatch(r"(\d+):0", code)
    known = own is not None and state in ("COMPLETED", "FAILED")
    return JobState(
        phase=Phase.ended,
        why=state,
        exit_code=int(own[1]) if known and own else None,
        node=node,
        again=state not in _FOR_GOOD,
    )


def _said(*words: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(words, input=text, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise EngineBusyError(f"{words[0]} did not end within {PATIENCE_SECONDS} s", hint="adasparse retries") from None
    except OSError as error:
        raise UsageError(
            f"{words[0]} cannot be started: {error}", hint="run the command on a machine of the cluster"
        ) from None


def _answer(*words: str) -> subprocess.CompletedProcess[str]:
    done = _said(*words)
    if done.returncode:
        raise EngineBusyError(f"{words[0]} says: {_last(done)}", hint="adasparse retries")
    return done


def _last(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    return "; ".join(lines[-2:]).replace(f"{done.args[0]}: ", "") or f"exit code {done.returncode}"
