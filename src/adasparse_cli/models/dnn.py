"""The DNN: all parameters are shared between domains, and the domain is a feature like any other.

    logit = w · MLP([e_a ; e_d]) + b

Every other model extends this one.
"""

from __future__ import annotations

from torch import nn

from adasparse_cli.batches import Batch, Prediction, no_penalty
from adasparse_cli.models.base import Cost, DataShape, Model, NetworkSettings, one_logit
from adasparse_cli.models.settings.dnn import DnnSettings


class Dnn(Model):
    """A fully connected network on all fields."""

    Settings = DnnSettings

    def __init__(self, settings: DnnSettings, network: NetworkSettings, shape: DataShape) -> None:
        super().__init__(network, shape)
        self.blocks = self.hidden_blocks(self.inputs)
        self.head = nn.Linear(self.outputs, 1)

    def forward(self, batch: Batch) -> Prediction:
        """Score the rows."""
        x = self.embed(batch).all_fields
        for block in self.blocks:
            x = block(x)
        return Prediction(one_logit(self.head, x), no_penalty(x))

    def cost(self) -> Cost:
        """The cost of the model."""
        return self._cost(backbone=(self.blocks, self.head))
