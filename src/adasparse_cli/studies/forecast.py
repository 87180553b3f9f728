"""Estimate the time of a run, from similar runs on this machine, or from its multiply-adds and the machine's speed."""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass

import torch

from adasparse_cli.catalogue.model_list import example
from adasparse_cli.choices import Split
from adasparse_cli.models.unfilled import unfilled
from adasparse_cli.runs.prepare import ensure_prepared, existing
from adasparse_cli.runs.run_folder import latest_alike
from adasparse_cli.runs.saved_run import DONE, read_report
from adasparse_cli.runs.train_job import TrainJob, build_model
from adasparse_cli.training.dataset import load_shape

# A training step reaches about half the speed of plain matrix products. Start and evaluation take some seconds.
EFFICIENCY, START_SECONDS = 0.5, 5.0
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
        with unfilled():
            model = build_model(job, load_shape(place, manifest))
        parameters = sum(parameter.numel() for parameter in model.parameters())
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
    for folder in sorted((job.runs / job.data.settings.name / job.label).glob("*-s*"), reverse=True):
        if (folder / DONE).exists():
            return float(read_report(folder)["timings"]["elapsed_seconds"]) + START_SECONDS, True
    manifest = existing(job.data.folder)
    if manifest is not None:
        rows = float(manifest.splits[Split.train].rows)
    elif hasattr(job.data.settings, "rows"):
        rows = job.data.settings.rows * TRAIN_SHARE
    else:
        return None
    shape = example() if manifest is None else load_shape(job.data.folder, manifest)
    with unfilled():
        cost = build_model(job, shape).cost()
    # a multiply-add is two operations, and the backward pass costs twice the forward pass
    operations = 6 * (cost.backbone_multiply_adds + cost.domain_multiply_adds)
    return START_SECONDS + job.loop.likely_epochs * rows * operations / (EFFICIENCY * operations_per_second()), False


@functools.cache
def operations_per_second(seconds: float = 0.3) -> float:
    """Floating-point operations per second of plain fp32 matrix products on one core."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    a, b = torch.randn(1024, 256), torch.randn(256, 256)
    done, started = 0, time.monotonic()
    while time.monotonic() - started < seconds:
        a @ b
        done += 1
    elapsed = time.monotonic() - started
    torch.set_num_threads(before)
    return 2 * done * 1024 * 256**2 / elapsed
