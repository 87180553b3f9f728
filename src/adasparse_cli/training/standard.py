"""The standard loop: one pass over the rows in a seeded order, a mean over each batch."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from adasparse_cli.batches import Prediction
from adasparse_cli.training.loop import Loop
from adasparse_cli.training.state import Gradients


class StandardLoop(Loop):
    """Minimises the mean loss of a batch (cross-entropy, unless the model has its own) plus the model's penalty."""

    def _steps_per_epoch(self) -> int:
        return len(batch_bounds(len(self.train), self.settings.batch_size))

    def epoch_batches(self, epoch: int) -> list[Tensor]:
        permutation = np.random.default_rng([self.seed, epoch]).permutation(len(self.train))
        order = torch.from_numpy(permutation).to(self.train.field_ids.device)
        return [order[start:end] for start, end in batch_bounds(len(self.train), self.settings.batch_size)]

    def add_gradients(self, rows: Tensor) -> Gradients:
        batch = self.train.batch(rows)
        assert batch.labels is not None
        prediction: Prediction = self.model(batch)
        loss = self.model.loss(prediction.logits, batch.labels)
        torch.autograd.backward(loss + prediction.penalty)
        pruned = None if prediction.pruned is None else prediction.pruned.mean(0)
        return Gradients(loss.detach(), prediction.penalty.detach(), pruned)


def batch_bounds(rows: int, batch_size: int) -> list[tuple[int, int]]:
    """Start and end of each batch; a last batch of one row (no statistics can be had of it) joins the one before."""
    starts = list(range(0, rows, batch_size))
    if len(starts) > 1 and rows - starts[-1] == 1:
        starts.pop()
    return list(zip(starts, [*starts[1:], rows], strict=True))
