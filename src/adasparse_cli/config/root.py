"""The settings outside the sections of a command: raw files, seed, device, threads and folders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from adasparse_cli.choices import Between, PrepEngine

SEEDS, THREADS = Between(0, 10**9), Between(1)


@dataclass(frozen=True, kw_only=True)
class PathSettings:
    """Folders, relative to the current one (the `paths` section).

    Args:
        data: folder of the prepared data.
        runs: folder of the runs.
        studies: folder of the studies.
    """

    data: str
    runs: str
    studies: str


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """Where `adasparse prep` runs (the `prep` section). The bytes of prepared data do not depend on it.

    Args:
        engine: `local` (this process) or `spark` (extra `spark`, and Java).
        master: for `engine=spark`: address of the cluster, which is `local` (this machine), `spark://HOST:7077`, `yarn` or
            `k8s://https://HOST:PORT`; null for the address in spark-submit or spark-defaults.conf.
        cores: for `master=local`: number of tasks at a time; null for all cores.
    """

    engine: PrepEngine
    master: str | None
    cores: Annotated[int, THREADS] | None


@dataclass(frozen=True, kw_only=True)
class PrepRoot:
    """The settings that only `prep` has, outside the sections."""

    prep: EngineSettings


@dataclass(frozen=True, kw_only=True)
class TrainRoot:
    """The settings of `train`, and of every command that trains, outside the sections.

    Args:
        raw: raw files, needed only if the data are not prepared yet: files, folders of tables, or patterns such as
            `logs/**/*.csv`; the twin needs none.
        seed: seed of the initial weights and of the order of rows.
        device: `auto` (a GPU if available), `cpu`, `cuda`, or `cuda:N`.
        threads: CPU threads; null for all cores.
    """

    raw: tuple[str, ...] | str
    seed: Annotated[int, SEEDS]
    device: str
    threads: Annotated[int, THREADS] | None
    paths: PathSettings
