"""The settings that stand beside the sections of a command: what is read, with which seed, on what, and where files go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from adasparse_cli.choices import Between

SEEDS, THREADS = Between(0, 10**9), Between(1)


@dataclass(frozen=True, kw_only=True)
class PathSettings:
    """Folders, from the current one (the `paths` section).

    Args:
        data: folder of the prepared data.
        runs: folder of the runs.
        studies: folder of the studies.
    """

    data: str
    runs: str
    studies: str


@dataclass(frozen=True, kw_only=True)
class TrainRoot:
    """What `train`, and every command that trains, has beside its sections.

    Args:
        raw: files to prepare from where the data are not prepared: files, folders of tables, or patterns such as
            `logs/**/*.csv`; empty for the twin, which writes its own.
        seed: seed of the run: of the initial weights and of the order of rows.
        device: `auto` (a GPU where there is one), `cpu`, `cuda`, or `cuda:N`.
        threads: CPU cores for arithmetic; null for all.
    """

    raw: tuple[str, ...] | str
    seed: Annotated[int, SEEDS]
    device: str
    threads: Annotated[int, THREADS] | None
    paths: PathSettings
