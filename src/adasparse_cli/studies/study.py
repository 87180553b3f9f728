"""A study: many runs that are trained, resumed and compared together.

Finished runs are reused, including runs of `train`. Interrupted runs resume, and missing runs are trained. No run is
trained twice.

study.json    the arms, the paths of their runs, and the checksum of the table; written when the study starts and ends
table.json    the table of `Comparison.table`
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adasparse_cli.choices import nearest_names
from adasparse_cli.errors import DataError, IntegrityError, UsageError
from adasparse_cli.execution.best_so_far import BestSoFar, valid_metric
from adasparse_cli.execution.cluster_runs import require_launcher
from adasparse_cli.execution.named_run import NamedRun
from adasparse_cli.execution.workers import train_all
from adasparse_cli.files import SealedFolder, checksums, only_owner, read_sealed, write_json, write_sealed
from adasparse_cli.prep.recipe import Progress, Silent
from adasparse_cli.prepared.files import require_learnable
from adasparse_cli.runs import json_types
from adasparse_cli.runs.chosen import STUDY, UNSEALED_STUDY_VERSION
from adasparse_cli.runs.prepare import PrepReport, ensure_prepared
from adasparse_cli.runs.saved_run import DONE, read_report
from adasparse_cli.runs.train import finished_run
from adasparse_cli.runs.train_job import TrainJob
from adasparse_cli.studies.arms import Arm
from adasparse_cli.studies.compared_worlds import compare_worlds
from adasparse_cli.studies.comparison import Comparison, compare_arms
from adasparse_cli.studies.plan import StudyJob
from adasparse_cli.typed import require_types

# Version 2 is the same without checksums.
STUDY_VERSION = 3
TABLE = "table.json"


@dataclass(frozen=True, kw_only=True)
class StudyReport:
    """The result of a study. `failed` has the runs without a result, with the reason."""

    folder: Path
    title: str
    question: str
    comparison: Comparison
    failed: Mapping[str, str]


def run_study(
    job: StudyJob, progress: Progress | None = None, *, workers: int = 1, cluster: str = "domain"
) -> StudyReport:
    """Train the missing runs, then compare the arms.

    Args:
        workers: number of runs at the same time.
        cluster: `domain` or `user`, the clusters of test rows for intervals.

    Raises:
        InterruptedRun: the study was stopped; unfinished runs are saved.
        DataError: no arm has a result.
        BusyError: another process works on this study.
    """
    progress = progress or Silent()
    require_launcher(job.arms[0].jobs[0], workers)  # fails before data are prepared
    job.folder.mkdir(parents=True, exist_ok=True)
    with only_owner(job.folder):
        if (job.folder / STUDY).exists():
            read_study(job.folder)
        prepared: dict[Path, PrepReport] = {}
        for own in job.arms[0].jobs:
            if own.data.folder not in prepared:
                prepared[own.data.folder] = ensure_prepared(own.data, progress)
                require_learnable(prepared[own.data.folder].manifest)
        _write(job, prepared, {})
        # all arms of one seed before the next seed, so that a study that stops early can be compared
        turns = zip(*([(arm.name, own) for own in arm.jobs] for arm in job.arms), strict=True)
        runs = [
            NamedRun(name=f"{name}, {_named(job, own)}", job=own, prepared=prepared[own.data.folder])
            for turn in turns
            for name, own in turn
            if finished_run(own, prepared[own.data.folder]) is None
        ]
        best = BestSoFar(job.arms[0].jobs[0].loop.select, comparable=not job.worlds)
        for arm in _arms(job, prepared):
            for name, folder in arm.runs.items():
                if folder is not None:
                    best.add(f"{arm.name}, seed {name}", valid_metric(read_report(folder), best.metric))
        failed = train_all(runs, progress, workers=workers, what=job.title, best=best)
        _write(job, prepared, failed)
        arms = _arms(job, prepared)
        if failed and not any(arm.folders for arm in arms):
            name, reason = next(iter(failed.items()))
            raise DataError(
                f"all runs failed; {name}: {reason}", hint="fix the failure, then run the same command again"
            )
        comparison = _compared(arms, job.worlds, baseline=job.baseline, cluster=cluster)
        write_json(job.folder / TABLE, comparison.table())
        _write(job, prepared, failed, checksums(job.folder, [job.folder / TABLE]))
    return StudyReport(folder=job.folder, title=job.title, question=job.question, comparison=comparison, failed=failed)


def open_study(folder: Path, *, baseline: str | None = None, cluster: str = "domain") -> StudyReport:
    """Open a study with its finished runs.

    Args:
        baseline: baseline arm; None for the baseline of the study.

    Raises:
        UsageError: the baseline is not an arm.
        IntegrityError: study.json is of another version, it or the table is damaged, or one of its runs is missing.
        DataError: no run is finished.
    """
    study = read_study(folder)
    arms = []
    try:
        table = SealedFolder(
            folder=folder,
            files=study.get("files", {}),
            changed="was changed after the study ended",
            hint="run the study again to write a new table",
        )
        table.verify()
        for arm in study["arms"]:
            runs = {name: None if run is None else folder / run for name, run in arm["runs"].items()}
            arms.append(Arm(name=arm["name"], runs=runs))
        for arm in arms:
            for run in arm.folders.values():
                if not (run / DONE).exists():
                    raise IntegrityError(
                        f"{folder / STUDY} names {run}, which is not a finished run",
                        hint="run the study again to train the missing runs",
                    )
        worlds = [int(world) for world in study.get("worlds", {})]
        comparison = _compared(arms, worlds, baseline=baseline or study["baseline"], cluster=cluster)
        return StudyReport(
            folder=folder,
            title=study["title"],
            question=study["question"],
            comparison=comparison,
            failed=study["failed"],
        )
    except (KeyError, TypeError, AttributeError, ValueError, OSError) as error:
        raise IntegrityError(
            f"{folder / STUDY} is damaged: {error!r:.200}", hint="run the study again; it reuses finished runs"
        ) from None


def find_study(name: str, root: Path) -> Path:
    """A study by its folder, by `latest`, or by an unambiguous part of its name.

    Raises:
        UsageError: no study matches, or several.
    """
    folder = Path(name)
    if (folder / STUDY).exists():
        return folder
    studies = sorted(
        (path.parent for path in root.glob(f"[!.]*/{STUDY}")), key=lambda path: (path / STUDY).stat().st_mtime
    )
    if not studies:
        raise UsageError(f"no studies in {root}", hint="adasparse ablate creates one")
    if name == "latest":
        return studies[-1]
    matches = [study for study in studies if name in study.name]
    if len(matches) == 1:
        return matches[0]
    names = nearest_names(name, [study.name for study in studies])
    message = f"{len(matches)} studies match {name!r}" if matches else f"no study matches {name!r}"
    raise UsageError(message, hint=f"studies include {names}")


def read_study(folder: Path) -> dict[str, Any]:
    """The content of study.json.

    Raises:
        IntegrityError: it is of another version, missing or damaged.
    """
    path = folder / STUDY
    hint = f"remove {path} and run the study again; it reuses finished runs"
    try:
        values = read_sealed(path, "study_version", unsealed=UNSEALED_STUDY_VERSION)
    except IntegrityError as error:
        raise IntegrityError(error.message, hint=hint) from None
    version = values.get("study_version")
    if version not in (STUDY_VERSION, UNSEALED_STUDY_VERSION):
        raise IntegrityError(
            f"{path} has format {version}; this version reads format {STUDY_VERSION}",
            hint="move the folder and run the study again; it reuses finished runs",
        )
    require_types(values, json_types.Study, path, hint=hint)
    return values


def _arms(job: StudyJob, prepared: Mapping[Path, PrepReport]) -> list[Arm]:
    """The arms with their runs by the keys of study.json: SEED, or WORLD/SEED in a study of several worlds."""
    return [
        Arm(
            name=arm.name,
            runs={
                f"{job.world_of(own)}/{own.seed}" if job.worlds else str(own.seed): finished_run(
                    own, prepared[own.data.folder]
                )
                for own in arm.jobs
            },
        )
        for arm in job.arms
    ]


def _compared(arms: Sequence[Arm], worlds: Sequence[int], *, baseline: str, cluster: str) -> Comparison:
    """The comparison of arms whose runs have the keys of study.json, within each world."""

    def within(world: int | None) -> list[Arm]:
        start = "" if world is None else f"{world}/"
        return [
            Arm(
                name=arm.name,
                runs={
                    int(str(name).removeprefix(start)): run
                    for name, run in arm.runs.items()
                    if str(name).startswith(start)
                },
            )
            for arm in arms
        ]

    if not worlds:
        return compare_arms(within(None), baseline=baseline, cluster=cluster)
    return compare_worlds({world: within(world) for world in worlds}, baseline=baseline, cluster=cluster)


def _named(job: StudyJob, own: TrainJob) -> str:
    return (f"world {job.world_of(own)}, " if job.worlds else "") + f"seed {own.seed}"


def _write(
    job: StudyJob,
    prepared: Mapping[Path, PrepReport],
    failed: Mapping[str, str],
    files: Mapping[str, str] | None = None,
) -> None:
    """Write study.json. Paths of runs are relative to its folder, so that both can be moved together."""

    def placed(run: Path | None) -> str | None:
        return None if run is None else os.path.relpath(run.resolve(), job.folder.resolve())

    def data_of(own: TrainJob) -> dict[str, str]:
        manifest = prepared[own.data.folder].manifest
        return {"name": manifest.name, "fingerprint": manifest.fingerprint}

    words = {arm.name: list(arm.words) for arm in job.arms}
    jobs = job.arms[0].jobs
    arms: list[dict[str, Any]] = [
        {
            "name": arm.name,
            "words": words[arm.name],
            "runs": {name: placed(run) for name, run in arm.runs.items()},
        }
        for arm in _arms(job, prepared)
    ]
    write_sealed(
        job.folder / STUDY,
        {
            "study_version": STUDY_VERSION,
            "name": job.name,
            "title": job.title,
            "question": job.question,
            "baseline": job.baseline,
            "data": data_of(jobs[0]),
            **({"worlds": {str(job.world_of(own)): data_of(own) for own in jobs}} if job.worlds else {}),
            "arms": arms,
            "failed": dict(failed),
            "files": dict(files or {}),
        },
    )
