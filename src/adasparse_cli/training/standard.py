"""The standard loop: mini-batches in a seeded order, with the mean loss of each batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from adasparse_cli.batches import Prediction
from adasparse_cli.checkpoints.state import Gradients
from adasparse_cli.layers import ranks
from adasparse_cli.rows.dataset import number_of_steps, part_of
from adasparse_cli.training.loop import Loop


class StandardLoop(Loop):
    """Minimises the mean loss of a batch (cross-entropy, unless the model defines another loss) plus the model's penalty."""

    def _steps_per_epoch(self) -> int:
        return number_of_steps(len(self.train), self.settings.batch_size)

    def epoch_batches(self, epoch: int) -> Sequence[Any]:
        return self.train.steps(self.seed, epoch, self.settings.batch_size)

    def add_gradients(self, rows: Any) -> Gradients:
        if ranks.are_joined():
            return self._add_share(part_of(rows, ranks.rank(), ranks.world_size()), len(rows))
        batch = self.train.batch(rows)
        assert batch.labels is not None
        prediction: Prediction = self.model(batch)
        loss = self.model.loss(prediction.logits, batch.labels)
        torch.autograd.backward(loss + prediction.penalty)
        pruned = None if prediction.pruned is None else prediction.pruned.mean(0)
        return Gradients(loss.detach(), prediction.penalty.detach(), pruned)

    def _add_share(self, rows: Any, of_all: int) -> Gradients:
        """This rank's term of the objective: the mean over its rows, weighted by their share of the batch."""
        share, batch = len(rows) / of_all, self.train.batch(rows)
        assert batch.labels is not None
        prediction: Prediction = self.model(batch)
        # a rank without rows must still take part in sums over ranks
        loss = self.model.loss(prediction.logits, batch.labels) if len(rows) else prediction.logits.sum()
        torch.autograd.backward((loss + prediction.penalty) * share)
        pruned = None if prediction.pruned is None else prediction.pruned.sum(0) / of_all
        return Gradients(loss.detach() * share, prediction.penalty.detach() * share, pruned)
