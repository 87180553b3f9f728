"""Estimate the peak memory of training before it starts."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from adasparse_cli.errors import ResourceError
from adasparse_cli.machine.resources import free_memory
from adasparse_cli.models.base import Model
from adasparse_cli.models.lightgbm import Lightgbm
from adasparse_cli.rows.dataset import Rows
from adasparse_cli.training.settings import LoopSettings

FIRST, GROWTH = 512, 4
# The allocator's cached blocks and gaps need about as much memory as the live tensors.
ALLOCATOR = 2.1


def resident_bytes() -> int:
    """Resident memory of this process; 0 if unknown."""
    status = Path("/proc/self/status")
    for line in status.read_text().splitlines() if status.exists() else ():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def batch_bytes(model: Model, rows: Rows, settings: LoopSettings) -> int:
    """Peak bytes of live activations and gradients in a training step or in an evaluation step.

    Batches of growing size, up to the batch sizes of training and evaluation, are passed through the model. A batch that
    would not fit is not tried: twice the rows need at most twice the memory, or less if memory depends on the domains of a
    batch. The model is in evaluation mode, so it does not change, and its gradients are dropped. The memory stays allocated,
    as it would after the first training steps.

    Raises:
        ResourceError: a batch does not fit into memory.
    """
    if isinstance(model, Lightgbm):  # the numbers of all rows, and their bins
        return 5 * len(rows) * len(model.features.names)
    was_training = model.training
    model.eval()
    largest = 0
    try:
        for training, size in ((True, settings.batch_size), (False, settings.evaluation_batch_size)):
            number, last = min(FIRST, size, len(rows)), min(size, len(rows))
            peak = _peak(model, rows, number, training=training)
            while number < last:
                larger = min(GROWTH * number, last)
                expected, free = ALLOCATOR * peak * larger / number, free_memory(model.device)
                if expected > free:
                    key = "loop.batch_size" if training else "loop.evaluation_batch_size"
                    raise ResourceError(
                        f"a batch of {key}={size} rows needs up to {expected / 2**20:,.0f} MiB; {free / 2**20:,.0f} MiB are free",
                        hint=f"use a smaller {key} or network.hidden",
                    )
                number, peak = larger, _peak(model, rows, larger, training=training)
            largest = max(largest, peak)
    finally:
        model.train(was_training)
    return largest


def _peak(model: Model, rows: Rows, number: int, *, training: bool) -> int:
    batch = rows.batch(slice(0, number))
    with ExitStack() as stack:
        alive = stack.enter_context(_Alive())
        stack.enter_context(torch.set_grad_enabled(training))
        prediction = model(batch)
        if training and batch.labels is not None:
            loss = model.loss(prediction.logits, batch.labels)
            torch.autograd.backward(loss + prediction.penalty)
    model.zero_grad(set_to_none=True)
    return int(alive.peak)


class _Alive(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Measures the peak bytes of live tensors that are created inside the context."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._known: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                for part in (leaf._indices(), leaf._values()) if leaf.is_sparse else (leaf,):
                    storage = part.untyped_storage()
                    reference = StorageWeakRef(storage)  # type: ignore[no-untyped-call]
                    self._known.setdefault(storage._cdata, (reference, storage.nbytes()))
        self._known = {key: known for key, known in self._known.items() if not known[0].expired()}  # type: ignore[no-untyped-call]
        self.peak = max(self.peak, sum(size for _, size in self._known.values()))
        return result
