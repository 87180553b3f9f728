"""The rows of a split, in memory or streamed from disk, as the settings of a run require."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from adasparse_cli.choices import RowSource, Split
from adasparse_cli.errors import UsageError
from adasparse_cli.layers.waits import may_wait
from adasparse_cli.prep.recipe import Progress
from adasparse_cli.prepared.tables import split_parts
from adasparse_cli.rows.dataset import Rows, bytes_per_row, load_rows, load_shape, with_bag_values
from adasparse_cli.rows.row_cache import open_cache
from adasparse_cli.rows.streamed import StreamedRows, disk_rows, streamed_rows
from adasparse_cli.schema import Manifest
from adasparse_cli.training.settings import LoopSettings

# Size of the train split from which `auto` streams. It is fixed, so that the same settings train the same weights everywhere.
STREAM_FROM_BYTES = 4 << 30
PLACES = 16_384  # rows of a block of `places`


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
        found = load_rows(folder, manifest, Split.train, device=device)
        if may_wait(device):
            return found
        return with_bag_values(found, manifest.fields, load_shape(folder, manifest).bags)
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
    users = None
    if manifest.has_user:
        parts = split_parts(folder, manifest, split, only=["__user"])
        users = np.concatenate([part["__user"].to_numpy() for part in parts])

    def places() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for part in split_parts(folder, manifest, split, only=["__source", "__line"]):
            sources, lines = part["__source"].to_numpy(), part["__line"].to_numpy()
            for start in range(0, len(lines), PLACES):
                yield sources[start : start + PLACES], lines[start : start + PLACES]

    return disk_rows(cache, device, users=users, places=places)


def _described(rows: StreamedRows, settings: LoopSettings) -> str:
    factor = rows.steps(0, 0, settings.batch_size).order.variance_factor(settings.batch_size)
    quality = (
        "this equals a full shuffle"
        if factor == 1.0
        else f"in a sorted log, the variance of a batch mean is up to {factor:.1f} times that of a full shuffle"
    )
    return f"rows are streamed from {rows.cache.path} in windows of {settings.window_rows:,}: {quality}"
