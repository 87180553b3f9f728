"""Logistic regression: a weight for each value, and a weight for each value in each domain.

    logit = Σ_f pool_{v ∈ f} w_v + Σ_{f ∈ e_a} pool_{v ∈ f} u[h(v, d)] + b

The first sum is over all fields, the second over the domain-agnostic fields: a domain-aware field has no further information
if the domain d is known. The weights of a multi-valued field are pooled as other models pool
embeddings. u is a table of `buckets` rows into which pairs are hashed (layers/hashed_crosses.py). A domain that is unseen in
training has only the first sum.

This model is a sanity check. If it is better than a network, check the network, its settings and the size of the log.

Source: the crosses are the hashed features of Weinberger et al., ICML 2009 (arXiv 0902.2206), and of McMahan et al., Ad Click
Prediction: a View from the Trenches, KDD 2013. Differences: trained with the optimiser of all models (Adam on the
rows of a batch), not with FTRL-Proximal; no L1 or L2 penalty, the best checkpoint is chosen on the valid split instead.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from adasparse_cli.batches import Batch, Prediction, no_penalty
from adasparse_cli.choices import Crosses
from adasparse_cli.layers.hashed_crosses import HashedCrosses
from adasparse_cli.models.base import Cost, DataShape, Model, NetworkSettings
from adasparse_cli.models.settings.lr import LrSettings


class Lr(Model):
    """Logistic regression on ids, and on ids crossed with the domain."""

    Settings = LrSettings

    def __init__(self, settings: LrSettings, network: NetworkSettings, shape: DataShape) -> None:
        # a weight is an embedding of width 1 that starts at 0
        super().__init__(replace(network, embedding_width=1, embedding_std=0.0, hidden=()), shape)
        self.crosses = (
            None
            if settings.crosses is Crosses.none
            else HashedCrosses(shape.num_domains, settings.buckets, pooling=network.pooling)
        )
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, batch: Batch) -> Prediction:
        """Score the rows."""
        summed = self.embed(batch).all_fields.sum(1)
        if self.crosses is not None:
            summed = summed + self.crosses(self.embedding.agnostic_rows(batch.field_ids), self.places(batch))
        return Prediction(summed + self.bias, no_penalty(summed))

    def head_bias(self) -> Tensor:
        """b."""
        return self.bias

    def row_tables(self) -> dict[str, nn.Parameter]:
        """The weights, including the weights of crosses."""
        return super().row_tables() | ({} if self.crosses is None else {"crosses.weight": self.crosses.weight})

    def cost(self) -> Cost:
        """The cost of the model; it has no matrix product."""
        found = self._cost(backbone=())
        own = self.bias.numel()  # b, which belongs to no part
        return replace(found, backbone_parameters=own, domain_parameters=found.domain_parameters - own)
