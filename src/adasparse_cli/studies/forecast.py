"""Estimate the time of a run, from similar runs on this machine, or from its multiply-adds and the machine's speed."""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass

import numpy as np

from adasparse_cli.catalogue.costs import cache_folder, cost_of
from adasparse_cli.choices import Split
from adasparse_cli.runs.prepare import ensure_prepared, existing
from adasparse_cli.runs.run_folder import latest_alike
from adasparse_cli.runs.saved_run import DONE, read_report, run_folders_of
from adasparse_cli.runs.train_job import TrainJob
from adasparse_cli.schema import Manifest

# A training step reaches about a third of the speed of NumPy's matrix products. Start and evaluation take some seconds.
EFFICIENCY, START_SECONDS = 0.35, 5.0
# Share of training rows in a log split by day, for the twin, whose number of rows is known before preparation.
TRAIN_SHARE = 5 / 7


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What `train` would do for a job.

    Args:
        data: folder of the prepared data, and whether they exist.
        folder: folder of the run; for a new run, the parent in which it will be created.
        does: `train`, `resume`, or `nothing` if the run is finished.
        parameters: number of parameters including embeddings; None until the data are prepared.
        seconds: expected time of the run; None if there is no estimate.
        measured: whether the estimate comes from a similar run.
    """

    data: str
    folder: str
    does: str
    parameters: int | None
    seconds: float | None
    measured: bool


def forecast_run(job: TrainJob, *, resume: bool) -> Forecast:
    """What `train` would do. No file is written.

    Raises:
        UsageError: the prepared data have other settings; `train` raises the same error.
    """
    manifest = existing(job.data.folder)
    if manifest is not None:
        ensure_prepared(job.data)  # only compares settings, because the data exist
    place = job.data.folder
    parent = job.runs / job.data.settings.name / job.label
    alike = latest_alike(parent, job.config, manifest.fingerprint) if resume and manifest is not None else None
    does = "train" if alike is None else "nothing" if (alike / DONE).exists() else "resume"
    parameters = None
    if manifest is not None:
        parameters = sum(number for name, number in _cost(job, manifest).items() if name.endswith("_parameters"))
    expected = (0.0, True) if does == "nothing" else expected_seconds(job)
    rows = "" if manifest is None else f", {sum(counts.rows for counts in manifest.splits.values()):,} rows"
    return Forecast(
        data=f"{place} (prepared{rows})" if manifest is not None else f"{place} (would be prepared first)",
        folder=str(parent / "…" if alike is None else alike),
        does=does,
        parameters=parameters,
        seconds=None if expected is None else expected[0],
        measured=expected is not None and expected[1],
    )


def expected_seconds(job: TrainJob) -> tuple[float, bool] | None:
    """The expected seconds of a run, and whether they come from a similar run; None if there is no estimate.

    A similar run has the same model and data of the same name.
    """
    for folder in sorted(run_folders_of(job.runs / job.data.settings.name / job.label), reverse=True):
        if (folder / DONE).exists():
            return float(read_report(folder)["timings"]["elapsed_seconds"]) + START_SECONDS, True
    manifest = existing(job.data.folder)
    if manifest is not None:
        rows = float(manifest.splits[Split.train].rows)
    elif hasattr(job.data.settings, "rows"):
        rows = job.data.settings.rows * TRAIN_SHARE
    else:
        return None
    cost = _cost(job, manifest)
    # a multiply-add is two operations, and the backward pass costs twice the forward pass
    operations = 6 * (cost["backbone_multiply_adds"] + cost["domain_multiply_adds"])
    return START_SECONDS + job.loop.likely_epochs * rows * operations / (EFFICIENCY * operations_per_second()), False


def _cost(job: TrainJob, manifest: Manifest | None) -> dict[str, int]:
    return cost_of(job.model, job.network, folder=job.data.folder, manifest=manifest, cache=cache_folder())


@functools.cache
def operations_per_second(seconds: float = 0.05) -> float:
    """Floating-point operations of plain fp32 matrix products per second of processor time.

    NumPy computes them, because torch takes seconds to load.
    """
    a, b = np.ones((1024, 256), dtype=np.float32), np.ones((256, 256), dtype=np.float32)
    a @ b  # the first product also starts threads
    done, started = 0, time.process_time()
    while time.process_time() - started < seconds:
        a @ b
        done += 1
    return 2 * done * 1024 * 256**2 / (time.process_time() - started)
