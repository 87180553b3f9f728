"""What all launchers on a cluster have in common, and the launcher of this machine."""

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
        name: `local` (processes of this machine), `slurm` or `ray`; `launcher=NAME` sets it.
    """

    name: str


HERE = LauncherSettings(name=LOCAL)


@dataclass(frozen=True, kw_only=True)
class ClusterSettings(LauncherSettings):
    """Runs as jobs of a cluster.

    Args:
        jobs: greatest number of jobs that wait or run at a time.
        cpus: cores of a job; null for `threads`, which studies set to 1.
        gpus: GPUs of a job.
        memory_gib: memory of a job in GiB; null for the default of the cluster.
        python: interpreter on the nodes, with the same versions of adasparse and torch; null for the path of this one.
        retries: how often a job is submitted again that was ended from outside: killed, out of time, or on a node that failed.
            It resumes from the last checkpoint.
        poll_seconds: seconds between two looks at the jobs.
    """

    jobs: Annotated[int, Between(1)]
    cpus: Annotated[int, Between(1)] | None
    gpus: Annotated[int, Between(0)]
    memory_gib: Annotated[float, Between(0, exclusive=True)] | None
    python: str | None
    retries: Annotated[int, Between(0)]
    poll_seconds: Annotated[float, Between(0.1)]


def without_launcher(words: Sequence[str]) -> list[str]:
    """The overrides that a result depends on: a study is the same wherever its runs are trained."""
    return [word for word in words if word.partition("=")[0].partition(".")[0] != "launcher"]
