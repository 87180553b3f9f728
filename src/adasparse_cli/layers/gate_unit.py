"""The gate of PEPNet: a small network that doubles, keeps or silences each of its targets."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional


class GateUnit(nn.Module):
    """gate = 2 σ(W₂ ReLU(W₁ [c ; x] + b₁) + b₂), in (0, 2).

    The part of W₁ that reads the condition c is computed once per distinct condition of the batch.

    Args:
        condition_width: width of c. row_width: width of x. hidden: width in between. outputs: number of gates.

    Source: Chang et al., PEPNet, KDD 2023 (arXiv 2302.01115), with their γ = 2.
    """

    def __init__(self, condition_width: int, row_width: int, *, hidden: int, outputs: int) -> None:
        super().__init__()
        fan_in = condition_width + row_width
        self.of_condition = nn.Linear(condition_width, hidden, bias=False)
        self.of_row = nn.Linear(row_width, hidden)
        for part in (self.of_condition, self.of_row):
            # both parts start as one linear map over the concatenation would
            nn.init.uniform_(part.weight, -(fan_in**-0.5), fan_in**-0.5)
        self.out = nn.Linear(hidden, outputs)

    def forward(
        self,
        conditions: Float[Tensor, "distinct condition_width"],
        condition_of_row: Int[Tensor, " rows"],
        x: Float[Tensor, "rows row_width"],
    ) -> Float[Tensor, "rows outputs"]:
        """The gates of each row."""
        own = functional.embedding(condition_of_row, self.of_condition(conditions))
        inner = functional.relu(self.of_row(x).add_(own))
        result: Tensor = torch.sigmoid(self.out(inner)).mul(2.0)
        return result
