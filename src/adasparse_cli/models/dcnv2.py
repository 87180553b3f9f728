"""DCNv2: a cross network in parallel with the DNN, for products of features.

    x_0 = [e_a ; e_d],   x_{l+1} = x_0 ⊙ (W_l x_l + b_l) + x_l,   logit = w · [x_L ; MLP(x_0)] + b

Source: Wang et al., DCN V2, WWW 2021 (arXiv 2008.13535), the parallel form. Difference: no mixture
of low-rank experts; `rank` makes each W_l a product of two thin matrices.
"""

from __future__ import annotations

import torch
from torch import nn

from adasparse_cli.batches import Batch, Prediction, no_penalty
from adasparse_cli.layers.cross import CrossNetwork
from adasparse_cli.models.base import Cost, DataShape, Model, NetworkSettings, one_logit
from adasparse_cli.models.settings.dcnv2 import Dcnv2Settings


class Dcnv2(Model):
    """A cross network in parallel with a fully connected one. All parameters are shared between domains."""

    Settings = Dcnv2Settings

    def __init__(self, settings: Dcnv2Settings, network: NetworkSettings, shape: DataShape) -> None:
        super().__init__(network, shape)
        self.cross = CrossNetwork(self.inputs, layers=settings.cross.layers, rank=settings.cross.rank)
        self.blocks = self.hidden_blocks(self.inputs)
        self.head = nn.Linear(self.inputs + self.outputs, 1)

    def forward(self, batch: Batch) -> Prediction:
        """Score the rows."""
        x = self.embed(batch).all_fields
        deep = x
        for block in self.blocks:
            deep = block(deep)
        both = torch.cat([self.cross(x), deep], dim=1)
        return Prediction(one_logit(self.head, both), no_penalty(x))

    def cost(self) -> Cost:
        """The cost of the model."""
        return self._cost(backbone=(self.cross, self.blocks, self.head))
