"""Batch normalisation whose statistics are those of all ranks' rows."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from adasparse_cli.layers import ranks


class BatchNorm(nn.BatchNorm1d):
    """y = γ (x − μ) / √(σ² + eps) + β, with μ and σ² over the rows of the batch, in training over those of all ranks.

    In one process it is torch's own. torch's `SyncBatchNorm` needs a GPU.

    Source: Ioffe and Szegedy, ICML 2015.
    """

    def forward(self, input: Float[Tensor, "rows width"]) -> Float[Tensor, "rows width"]:
        """Normalise the rows."""
        if not (self.training and ranks.are_joined()):
            result: Tensor = super().forward(input)
            return result
        mean = ranks.mean_over_rows(input)
        centred = input - mean
        variance = ranks.mean_over_rows(centred.square())
        self._move(mean.detach(), variance.detach(), len(input))
        return centred * torch.rsqrt(variance + self.eps) * self.weight + self.bias

    def _move(self, mean: Tensor, variance: Tensor, rows: int) -> None:
        """Move the statistics that evaluation uses."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        count = ranks.summed(torch.full((), float(rows), dtype=variance.dtype, device=variance.device))
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
