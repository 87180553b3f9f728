"""The rows of a split, in memory or streamed from disk, as the settings of a run require."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import torch

from adasparse_cli.choices import RowSource, Split
from adasparse_cli.errors import UsageError
from adasparse_cli.prep.prepared import split_parts
from adasparse_cli.prep.recipe import Progress
from adasparse_cli.schema import Manifest
from adasparse_cli.training.dataset import Rows, bytes_per_row, load_rows
from adasparse_cli.training.row_cache import open_cache
from adasparse_cli.training.settings import LoopSettings
from adasparse_cli.training.streamed import StreamedRows, mapped_rows, streamed_rows

# Size of the train split from which `auto` streams. It is fixed, so that the same settings train the same weights everywhere.
STREAM_FROM_BYTES = 4 << 30


def streams(manifest: Manifest, settings: LoopSettings) -> bool:
    """Whether rows are streamed from disk."""
    if settings.rows is RowSource.auto:
        return manifest.splits[Split.train].rows * bytes_per_row(manifest) > STREAM_FROM_BYTES
    return settings.rows is RowSource.stream


def train_rows(
    folder: Path, manifest: Manifest, settings: LoopSettings, *, device: torch.device, progress: Progress
) -> Rows:
    """The rows of the train split.

    Raises:
        ResourceError: they do not fit into memory.
        UsageError: the loop or the control arm needs all rows in memory, but the settings require streaming.
    """
    if not streams(manifest, settings):
        return load_rows(folder, manifest, Split.train, device=device)
    if settings.name != "standard" or settings.placebo:
        what = "loop.placebo" if settings.placebo else f"loop={settings.name}"
        raise UsageError(
            f"{what} needs all rows in memory, but these rows are streamed",
            hint="use loop.rows=memory, with fewer rows if they do not fit",
        )
    rows = streamed_rows(open_cache(folder, manifest, Split.train, progress), device, window_rows=settings.window_rows)
    progress.note(_described(rows, settings))
    return rows


def other_rows(
    folder: Path, manifest: Manifest, split: Split, settings: LoopSettings, *, device: torch.device, progress: Progress
) -> Rows:
    """The rows of the valid or test split.

    Raises:
        ResourceError: they do not fit into memory.
    """
    if not streams(manifest, settings):
        return load_rows(folder, manifest, split, device=device)
    cache = open_cache(folder, manifest, split, progress)
    names = ["__source", "__line", *(["__user"] if manifest.has_user else [])]
    keys = pl.concat(frame.select(names) for frame in split_parts(folder, manifest, split))
    users: np.ndarray | None = keys["__user"].to_numpy() if manifest.has_user else None
    return mapped_rows(cache, device, users=users, sources=keys["__source"].to_numpy(), lines=keys["__line"].to_numpy())


def _described(rows: StreamedRows, settings: LoopSettings) -> str:
    factor = rows.steps(0, 0, settings.batch_size).order.variance_factor(settings.batch_size)
    quality = (
        "this equals a full shuffle"
        if factor == 1.0
        else f"in a sorted log, the variance of a batch mean is up to {factor:.1f} times that of a full shuffle"
    )
    return f"rows are streamed from {rows.cache.path} in windows of {settings.window_rows:,}: {quality}"
