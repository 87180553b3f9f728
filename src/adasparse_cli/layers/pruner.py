"""AdaSparse's pruner: a small map from a layer's neurons and the domain context to one number per neuron."""

from __future__ import annotations

from collections.abc import Collection

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from adasparse_cli.choices import PrunerInput
from adasparse_cli.layers.context import Context, ReadsContext


class Pruner(ReadsContext):
    """v = W_p [h ; c] + b, or with a rank r: v = U (W_r [h ; c]) + b; c is the domain context.

    The part that reads c is computed once per condition and used for all its rows.
    The sources call the pruner "light" and "shallow"; this project uses one linear map.

    Args:
        width: number of neurons and of outputs.
        context_width: width of c.
        inputs: what the pruner reads. With only `domain`, the factors depend only on the domain, and there is one row of them
            per condition instead of one per row.
        rank: inner width of the low-rank form; None for the full map.

    Source: Yang et al., AdaSparse, CIKM 2022; rank and inputs are settings of this project.
    """

    def __init__(self, width: int, context_width: int, *, inputs: Collection[PrunerInput], rank: int | None) -> None:
        super().__init__()
        inner = width if rank is None else rank
        fan_in = (width if PrunerInput.hidden in inputs else 0) + (context_width if PrunerInput.domain in inputs else 0)
        self.hidden = nn.Linear(width, inner, bias=False) if PrunerInput.hidden in inputs else None
        self.domain = nn.Linear(context_width, inner, bias=False) if PrunerInput.domain in inputs else None
        self.up = None if rank is None else nn.Linear(inner, width, bias=False)
        self.bias = nn.Parameter(torch.zeros(width))
        for part in (self.hidden, self.domain):
            if part is not None:
                # both parts are initialised as one linear map over the concatenation
                nn.init.uniform_(part.weight, -(fan_in**-0.5), fan_in**-0.5)

    def forward(self, h: Float[Tensor, "rows width"], context: Context) -> Float[Tensor, "rows_or_conditions width"]:
        """The output v before the sigmoid: per condition if `reads_rows` is False, else per row."""
        bias = self.bias if self.up is None else None
        if self.domain is None:
            assert self.hidden is not None
            inner = functional.linear(h, self.hidden.weight, bias)
        else:
            of_domain = functional.linear(context.values, self.domain.weight, bias)
            # the product is added in place to the domain's part, in a separate pass over memory
            inner = (
                of_domain
                if self.hidden is None
                else Context(of_domain, context.of_row).by_row().addmm_(h, self.hidden.weight.t())
            )
        return inner if self.up is None else functional.linear(inner, self.up.weight, self.bias)

    @property
    def reads_rows(self) -> bool:
        """Whether its output differs between rows of one condition."""
        return self.hidden is not None

    def multiply_adds(self) -> int:
        """Multiply-adds per row; the domain's part is counted as if each row computed it."""
        return sum(part.weight.numel() for part in (self.hidden, self.domain, self.up) if part is not None)
