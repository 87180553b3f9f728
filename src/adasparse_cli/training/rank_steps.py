"""Communication between ranks in a training step and in an evaluation."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from adasparse_cli.checkpoints.state import Gradients
from adasparse_cli.layers import ranks
from adasparse_cli.models.base import Model
from adasparse_cli.rows.dataset import Rows
from adasparse_cli.training.evaluate import Scores, score
from adasparse_cli.training.rank_gradients import gathered, sum_gradients, sum_values
from adasparse_cli.training.settings import LoopSettings
from adasparse_cli.training.signals import StopWish


def seed_step(seed: int, step: int) -> None:
    """Seed the random generator for a step and rank, so that checkpoints need no generator state per rank."""
    torch.manual_seed(int(np.random.SeedSequence([seed, step, ranks.rank()]).generate_state(1)[0]))


def joined(
    share: Gradients, dense: Sequence[nn.Parameter], tables: Mapping[str, nn.Parameter], wish: StopWish
) -> tuple[Gradients, int | None]:
    """Sum the gradients of a step over all ranks; its losses, and the signal that any rank has received.

    Args:
        share: losses of this rank, weighted by its share of the batch.
    """
    sum_gradients(dense, tables)
    wished = torch.full_like(share.loss, 0.0 if wish.number is None else 1.0)
    numbers = [share.loss.reshape(1), share.penalty.reshape(1).to(share.loss.dtype), wished.reshape(1)]
    if share.pruned is not None:
        numbers.append(share.pruned.to(share.loss.dtype))
    total = sum_values(torch.cat(numbers))
    pruned = None if share.pruned is None else total[3:].to(share.pruned.dtype)
    stop = None if not total[2] else wish.number or signal.SIGTERM
    return Gradients(total[0], total[1].to(share.penalty.dtype), pruned), stop


def shared_scores(model: Model, rows: Rows, settings: LoopSettings) -> Scores:
    """Scores of all rows. Each rank computes a part."""
    size, ends = ranks.world_size(), [k * len(rows) // ranks.world_size() for k in range(ranks.world_size() + 1)]
    between = ends[ranks.rank()], ends[ranks.rank() + 1]
    part = score(model, rows, batch_size=settings.evaluation_batch_size, between=between)
    lengths = [ends[k + 1] - ends[k] for k in range(size)]

    def every(values: np.ndarray) -> np.ndarray:
        of_all: Tensor = gathered(torch.from_numpy(values).to(model.device), lengths)
        return of_all.cpu().numpy()

    if not model.gated_layers:
        return Scores(every(part.logits), None)
    pruned = np.zeros((0, len(model.gated_layers)), dtype=np.float32) if part.pruned is None else part.pruned
    return Scores(every(part.logits), every(pruned))
