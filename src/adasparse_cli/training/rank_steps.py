"""What ranks agree on in a step and in an evaluation."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from adasparse_cli.layers import ranks
from adasparse_cli.models.base import Model
from adasparse_cli.training.dataset import Rows
from adasparse_cli.training.evaluate import Scores, score
from adasparse_cli.training.rank_gradients import gathered, sum_gradients, sum_values
from adasparse_cli.training.settings import LoopSettings
from adasparse_cli.training.signals import StopWish
from adasparse_cli.training.state import Gradients


def seed_step(seed: int, step: int) -> None:
    """Draw from a generator of the step's and the rank's own, so that no rank's state has to be saved."""
    torch.manual_seed(int(np.random.SeedSequence([seed, step, ranks.rank()]).generate_state(1)[0]))


def joined(
    found: Gradients, dense: Sequence[nn.Parameter], tables: Mapping[str, nn.Parameter], wish: StopWish
) -> tuple[Gradients, int | None]:
    """A step's gradients and figures over all ranks, and the signal that any rank has received.

    Args:
        found: this rank's share of the figures.
    """
    sum_gradients(dense, tables)
    wished = torch.full_like(found.loss, 0.0 if wish.number is None else 1.0)
    numbers = [found.loss.reshape(1), found.penalty.reshape(1).to(found.loss.dtype), wished.reshape(1)]
    if found.pruned is not None:
        numbers.append(found.pruned.to(found.loss.dtype))
    total = sum_values(torch.cat(numbers))
    pruned = None if found.pruned is None else total[3:].to(found.pruned.dtype)
    stop = None if not total[2] else wish.number or signal.SIGTERM
    return Gradients(total[0], total[1].to(found.penalty.dtype), pruned), stop


def shared_scores(model: Model, rows: Rows, settings: LoopSettings) -> Scores:
    """Scores of all rows, of which each rank computes a part."""
    size, ends = ranks.world_size(), [k * len(rows) // ranks.world_size() for k in range(ranks.world_size() + 1)]
    own = ends[ranks.rank()], ends[ranks.rank() + 1]
    part = score(model, rows, batch_size=settings.evaluation_batch_size, between=own)
    lengths = [ends[k + 1] - ends[k] for k in range(size)]

    def every(values: np.ndarray) -> np.ndarray:
        found: Tensor = gathered(torch.from_numpy(values).to(model.device), lengths)
        return found.cpu().numpy()

    if not model.gated_layers:
        return Scores(every(part.logits), None)
    pruned = np.zeros((0, len(model.gated_layers)), dtype=np.float32) if part.pruned is None else part.pruned
    return Scores(every(part.logits), every(pruned))
