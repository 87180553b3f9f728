"""The gate of PEPNet: a small network that scales each of its targets by a factor between 0 and 2."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from adasparse_cli.layers.context import Context, ReadsContext


class GateUnit(ReadsContext):
    """gate = 2 σ(W₂ ReLU(W₁ [c ; x] + b₁) + b₂), in (0, 2).

    The part of W₁ that reads the domain context c is computed once per condition.

    Args:
        context_width: width of c. row_width: width of x. hidden: inner width. outputs: number of gates.

    Source: Chang et al., PEPNet, KDD 2023 (arXiv 2302.01115), with their γ = 2.
    """

    def __init__(self, context_width: int, row_width: int, *, hidden: int, outputs: int) -> None:
        super().__init__()
        fan_in = context_width + row_width
        self.of_condition = nn.Linear(context_width, hidden, bias=False)
        self.of_row = nn.Linear(row_width, hidden)
        for part in (self.of_condition, self.of_row):
            # both parts are initialised as one linear map over the concatenation
            nn.init.uniform_(part.weight, -(fan_in**-0.5), fan_in**-0.5)
        self.out = nn.Linear(hidden, outputs)

    def forward(self, context: Context, x: Float[Tensor, "rows row_width"]) -> Float[Tensor, "rows outputs"]:
        """The gates of each row."""
        inner = functional.relu(self.of_row(x).add_(context.map(self.of_condition).by_row()))
        result: Tensor = torch.sigmoid(self.out(inner)).mul(2.0)
        return result
