"""How long a run will take: by what runs like it took here, else by what it computes and how fast the machine is."""

from __future__ import annotations

import functools
import time

import torch

from adasparse_cli.choices import Split
from adasparse_cli.runs.model_list import example
from adasparse_cli.runs.prepare import existing
from adasparse_cli.runs.saved_run import DONE, read_report
from adasparse_cli.runs.train import TrainJob, build_model
from adasparse_cli.training.dataset import load_shape

# A step reaches about half of what plain matrix products do; a process needs some seconds to start and to evaluate.
EFFICIENCY, START_SECONDS = 0.5, 5.0
# Of a log split by day; the twin says how many rows it has, other data do not before they are prepared.
TRAIN_SHARE = 5 / 7


def expected_seconds(job: TrainJob) -> tuple[float, bool] | None:
    """What a run will take, and whether a run like it says so; None where nobody can know.

    A run like it is one of the same model on data of the same name.
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
    with torch.device("meta"):
        cost = build_model(job, shape).cost()
    # forward, and twice as much backward, each multiply-add two operations
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
