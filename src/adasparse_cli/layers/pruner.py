"""AdaSparse's pruner: a light map from a layer's neurons and the domain's embeddings to one number a neuron."""

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

    The part that reads c is computed once per condition and handed to its rows.
    The sources call the pruner "light" and "shallow"; one linear map is our reading of it.

    Args:
        width: number of neurons judged, and of outputs.
        context_width: width of c.
        inputs: what it looks at; with `domain` alone the factors depend on the domain only, and there is one row of them
            per condition instead of one per row.
        rank: inner width of the low-rank form; None for the full map.

    Source: Yang et al., AdaSparse, CIKM 2022; rank and inputs are our settings.
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
                # both parts start as one linear map over the concatenation would
                nn.init.uniform_(part.weight, -(fan_in**-0.5), fan_in**-0.5)

    def forward(self, h: Float[Tensor, "rows width"], context: Context) -> Float[Tensor, "rows_or_conditions width"]:
        """The output v before any sigmoid: per condition where `reads_rows` is False, else per row."""
        bias = self.bias if self.up is None else None
        if self.domain is None:
            assert self.hidden is not None
            inner = functional.linear(h, self.hidden.weight, bias)
        else:
            of_domain = functional.linear(context.values, self.domain.weight, bias)
            # the product is added where the domain's part stands, in its own pass over memory
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
        """Multiply-adds per row, the domain's part counted as if each row computed it."""
        return sum(part.weight.numel() for part in (self.hidden, self.domain, self.up) if part is not None)
