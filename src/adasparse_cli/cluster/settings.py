"""Settings that all launchers on a cluster share, and the settings of the local launcher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from adasparse_cli.choices import Between

LOCAL = "local"


@dataclass(frozen=True, kw_only=True)
class LauncherSettings:
    """Where the runs of a study are trained (the `launcher` section).

    Args:
        name: `local` (processes on this machine), `slurm` or `ray`; `launcher=NAME` sets it.
    """

    name: str


HERE = LauncherSettings(name=LOCAL)


@dataclass(frozen=True, kw_only=True)
class ClusterSettings(LauncherSettings):
    """Runs as jobs of a cluster.

    Args:
        jobs: maximum number of waiting and running jobs.
        cpus: number of cores per job; null for `threads`, which studies set to 1.
        gpus: number of GPUs per job.
        memory_gib: memory per job in GiB; null for the default of the cluster.
        python: path of the Python interpreter on the nodes, with the same versions of adasparse and torch; null for the path of
            the interpreter that runs this command.
        retries: how many times a job is resubmitted after it was ended from outside: it was killed, reached its time limit,
            or its node failed. It resumes from the last checkpoint.
        poll_seconds: seconds between two queries of the jobs' states.
    """

    jobs: Annotated[int, Between(1)]
    cpus: Annotated[int, Between(1)] | None
    gpus: Annotated[int, Between(0)]
    memory_gib: Annotated[float, Between(0, exclusive=True)] | None
    python: str | None
    retries: Annotated[int, Between(0)]
    poll_seconds: Annotated[float, Between(0.1)]


def without_launcher(words: Sequence[str]) -> list[str]:
    """The overrides without `launcher` settings, because results do not depend on where runs are trained."""
    return [word for word in words if word.partition("=")[0].partition(".")[0] != "launcher"]
