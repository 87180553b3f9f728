"""Reads and checks every file of prepared data or of a run; for a study see `studies.subject`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adasparse_cli.checkpoints.checkpoint import INDEX, load_checkpoint
from adasparse_cli.findings.kept import kept_findings, verify_finding
from adasparse_cli.prepared.files import open_prepared, verify
from adasparse_cli.runs.prepare import existing
from adasparse_cli.runs.saved_run import read_config, sealed_run
from adasparse_cli.runs.train_job import TrainJob
from adasparse_cli.scoring.score import SavedRun


def verify_data(folder: Path) -> int:
    """Check prepared data.

    Returns:
        The number of files.

    Raises:
        IntegrityError: a file is missing or differs.
    """
    return verify(folder, open_prepared(folder), afresh=True)


def verify_run(folder: Path) -> int:
    """Check a run, with its checkpoints and findings.

    Unfinished runs and runs of earlier versions have checksums for some files only; only these files are checked.

    Returns:
        The number of files that have a checksum.

    Raises:
        IntegrityError: a file is missing or differs.
    """
    sealed = sealed_run(folder)
    number = 0
    if sealed is not None:
        sealed.verify()
        number = len(sealed.files) + 1
    read_config(folder)
    for index in sorted(folder.glob(f"checkpoints/*/{INDEX}")):
        load_checkpoint(index.parent)
        number += 1 if sealed is not None else 2
    return number + sum(verify_finding(path) for path in kept_findings(folder))


def verify_opened(runs: Sequence[SavedRun]) -> int:
    """Check runs and the prepared data that they were trained on.

    Returns:
        The number of files.

    Raises:
        IntegrityError: a file is missing or differs.
    """
    folders = dict.fromkeys(run.folder for run in runs)
    data = dict.fromkeys(run.data_folder for run in runs)
    return sum(map(verify_run, folders)) + sum(map(verify_data, data))


def verify_planned(jobs: Sequence[TrainJob]) -> int:
    """Check the prepared data that runs will use; data that are not prepared yet have no files.

    Returns:
        The number of files.

    Raises:
        IntegrityError: a file is missing or differs.
    """
    folders = dict.fromkeys(job.data.folder for job in jobs)
    return sum(verify_data(folder) for folder in folders if existing(folder) is not None)
