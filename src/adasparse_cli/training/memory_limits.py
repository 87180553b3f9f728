"""Check before training that a run fits into memory, and report how much it needs."""

from __future__ import annotations

import torch

from adasparse_cli.choices import Split
from adasparse_cli.errors import ResourceError
from adasparse_cli.machine.resources import free_memory
from adasparse_cli.models.base import Model
from adasparse_cli.rows.dataset import Rows, bytes_per_row
from adasparse_cli.schema import Manifest
from adasparse_cli.training.memory import batch_bytes, resident_bytes
from adasparse_cli.training.settings import LoopSettings

# The estimate was 0.85 to 1.0 of the measured peak (benchmarks/memory.py).
SHORT = 1.05
# Of rows on disk, memory per row in evaluation: domain, condition, label; user; score and its place in the order of scores;
# scores and labels of rows with a user, and at most a group per row.
HELD_BYTES, USER_BYTES, SCORE_BYTES, USER_WORK_BYTES = 9, 4, 12, 32
# What polars takes to write predictions block by block, as measured.
WRITING_BYTES = 32 * 2**20


def require_memory(label: str, model: Model, num_domains: int, device: torch.device) -> str:
    """Describe the number of parameters of a model and their memory in training.

    Each parameter is in memory four times: itself, its gradient, and the two moments of Adam. The gradient of embeddings is
    not counted, because it has only the rows of a batch.

    Args:
        label: name of the run.
        model: model on the meta device, so that nothing is allocated.

    Raises:
        ResourceError: the parameters do not fit into memory.
    """
    parts = _parameter_bytes(model)
    cost = model.cost()
    count = cost.embedding_parameters + cost.backbone_parameters + cost.domain_parameters
    breakdown = ", ".join(f"{name} {size / 2**20:,.0f}" for name, size in parts.items() if size)
    description = (
        f"{label}: {count:,} parameters, {sum(parts.values()) / 2**20:,.0f} MiB in training{f' ({breakdown})' * bool(breakdown)} "
        f"with {num_domains:,} domains"
    )
    free = free_memory(device)
    if sum(parts.values()) > 0.9 * free:
        raise ResourceError(
            f"{description}; {free / 2**20:,.0f} MiB are free",
            hint="use a smaller network.hidden, a coarser data.domain, or a model with fewer parameters per domain",
        )
    return description


def _parameter_bytes(model: Model) -> dict[str, int]:
    cost = model.cost()
    return {
        "embedding": 12 * cost.embedding_parameters,
        "backbone": 16 * cost.backbone_parameters,
        "domain part": 16 * cost.domain_parameters,
    }


def _evaluation_bytes(model: Model, train: Rows, manifest: Manifest) -> int:
    """What evaluation takes at its peak, beside the rows of the valid split, which are in memory."""
    valid, test = (manifest.splits[one].rows if one in manifest.splits else 0 for one in (Split.valid, Split.test))
    if train.in_memory:
        return test * bytes_per_row(manifest)
    keys = HELD_BYTES + (USER_BYTES if manifest.has_user else 0)
    work = SCORE_BYTES + 4 * len(model.gated_layers) + (USER_WORK_BYTES if manifest.has_user else 0)
    return max(valid * work, test * (keys + work)) + WRITING_BYTES


def require_peak_memory(label: str, model: Model, train: Rows, manifest: Manifest, settings: LoopSettings) -> str:
    """Describe the peak memory of training. The model and its rows are already in memory.

    Raises:
        ResourceError: training does not fit into memory.
    """
    batch = batch_bytes(model, train, settings)
    # weights are already allocated; gradients and moments are not
    weights = sum(4 * parameter.numel() for parameter in model.parameters())
    optimiser = sum(_parameter_bytes(model).values()) - weights
    rows = _evaluation_bytes(model, train, manifest) + train.bytes_to_come
    on_cpu = model.device.type == "cpu"
    host = round(SHORT * (resident_bytes() + rows + (optimiser if on_cpu else 0)))
    more = rows + optimiser + (0 if on_cpu else batch)
    description = f"about {host / 2**20:,.0f} MiB at the peak of training"
    if not on_cpu:
        description += f", and {(optimiser + batch) / 2**20:,.0f} MiB more on the device"
    free = free_memory(model.device)
    if more > free:
        raise ResourceError(
            f"{label} needs {description}; {free / 2**20:,.0f} MiB are free",
            hint="use a smaller network.embedding_width or network.hidden, or prepare fewer rows",
        )
    return description
