"""AdaSparse's pruner: a light map from a layer's neurons and the domain's embeddings to one number a neuron."""

from __future__ import annotations

from collections.abc import Collection

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from adasparse_cli.choices import PrunerInput


class Pruner(nn.Module):
    """v = W_p [h ; e_d] + b, or with a rank r: v = U (W_r [h ; e_d]) + b.

    The part that reads e_d is computed once per distinct condition of the batch and handed to its rows.
    The sources call the pruner "light" and "shallow"; one linear map is our reading of it.

    Args:
        width: number of neurons judged, and of outputs.
        condition_width: width of e_d.
        inputs: what it looks at; `domain` alone makes the factors depend on the domain only.
        rank: inner width of the low-rank form; None for the full map.

    Source: Yang et al., AdaSparse, CIKM 2022; rank and inputs are our settings.
    """

    def __init__(self, width: int, condition_width: int, *, inputs: Collection[PrunerInput], rank: int | None) -> None:
        super().__init__()
        inner = width if rank is None else rank
        fan_in = (width if PrunerInput.hidden in inputs else 0) + (
            condition_width if PrunerInput.domain in inputs else 0
        )
        self.hidden = nn.Linear(width, inner, bias=False) if PrunerInput.hidden in inputs else None
        self.domain = nn.Linear(condition_width, inner, bias=False) if PrunerInput.domain in inputs else None
        self.up = None if rank is None else nn.Linear(inner, width, bias=False)
        self.bias = nn.Parameter(torch.zeros(width))
        for part in (self.hidden, self.domain):
            if part is not None:
                # both parts start as one linear map over the concatenation would
                nn.init.uniform_(part.weight, -(fan_in**-0.5), fan_in**-0.5)

    def forward(
        self,
        h: Float[Tensor, "rows width"],
        conditions: Float[Tensor, "distinct condition_width"],
        condition_of_row: Int[Tensor, " rows"],
    ) -> Float[Tensor, "rows width"]:
        """The output v before any sigmoid."""
        bias = self.bias if self.up is None else None
        if self.domain is None:
            assert self.hidden is not None
            inner = functional.linear(h, self.hidden.weight, bias)
        else:
            # F.embedding is index_select with a backward pass that runs on all cores
            inner = functional.embedding(condition_of_row, functional.linear(conditions, self.domain.weight, bias))
            if self.hidden is not None:
                # the product is added where the domain's part stands, in its own pass over memory
                inner = inner.addmm_(h, self.hidden.weight.t())
        return inner if self.up is None else functional.linear(inner, self.up.weight, self.bias)

    def multiply_adds(self) -> int:
        """Multiply-adds per row, the domain's part counted as if each row computed it."""
        return sum(part.weight.numel() for part in (self.hidden, self.domain, self.up) if part is not None)
