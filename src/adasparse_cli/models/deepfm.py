"""DeepFM: a factorisation machine in parallel with the DNN, on the same embeddings.

    logit = Σ_f w_f + Σ_{f < g} ⟨e_f, e_g⟩ + v · MLP([e_a ; e_d]) + b

over all fields f and g. w_f is one number and e_f a vector of `embedding_width` numbers per value, pooled over the values of a
multi-valued field. The sum over pairs is computed as ½ Σ ((Σ_f e_f)² − Σ_f e_f²), with a cost linear in the number of fields.

Source: Guo et al., DeepFM: A Factorization-Machine based Neural Network for CTR Prediction, IJCAI 2017 (arXiv 1703.04247).
Differences: w_f is one more column of the embedding table, so a value is looked up once; there are no products of two values
of the same multi-valued field, because its values are pooled first.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from adasparse_cli.batches import Batch, Prediction, no_penalty
from adasparse_cli.models.base import Cost, DataShape, Model, NetworkSettings, one_logit
from adasparse_cli.models.settings.deepfm import DeepFmSettings


class DeepFm(Model):
    """A factorisation machine and a fully connected network on shared embeddings. All parameters are shared between domains."""

    Settings = DeepFmSettings

    def __init__(self, settings: DeepFmSettings, network: NetworkSettings, shape: DataShape) -> None:
        width, fields = network.embedding_width, len(shape.fields)
        super().__init__(replace(network, embedding_width=width + 1), shape)
        self.width, self.fields = width, fields
        inputs = self.fields * self.width
        self.blocks = self.hidden_blocks(inputs)
        self.head = nn.Linear(network.hidden[-1] if network.hidden else inputs, 1)

    def forward(self, batch: Batch) -> Prediction:
        """Score the rows."""
        embedded = self.embed(batch).all_fields
        e, first_order = torch.split(embedded.view(-1, self.fields, self.width + 1), [self.width, 1], dim=2)
        pairs = 0.5 * (e.sum(1).square() - e.square().sum(1)).sum(1)
        x = e.flatten(1)
        for block in self.blocks:
            x = block(x)
        return Prediction(first_order.sum((1, 2)) + pairs + one_logit(self.head, x), no_penalty(x))

    def cost(self) -> Cost:
        """The cost of the model; its only matrix products are in the DNN."""
        return self._cost(backbone=(self.blocks, self.head))
