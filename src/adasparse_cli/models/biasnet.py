"""A bias network: the DNN plus a shallow network that reads only the domain.

    logit = f([e_a ; e_d]) + g(c)

f is the DNN, g a small network, c the domain context (layers/context.py). g can represent a domain's base
rate without f.

Source: the AdaSparse paper compares with a model of this name. Its equations were not available, so this is an
interpretation of the name, similar to the bias towers that model position bias.
"""

from __future__ import annotations

from torch import nn

from adasparse_cli.batches import Batch, Prediction, no_penalty
from adasparse_cli.layers.context_logit import ContextLogit
from adasparse_cli.models.base import Cost, DataShape, Model, NetworkSettings, multiply_adds, one_logit
from adasparse_cli.models.settings.biasnet import BiasNetSettings


class BiasNet(Model):
    """A DNN plus a shallow tower on the domain context, added at the logit."""

    Settings = BiasNetSettings
    reads_context = True

    def __init__(self, settings: BiasNetSettings, network: NetworkSettings, shape: DataShape) -> None:
        super().__init__(network, shape)
        self.blocks = self.hidden_blocks(self.inputs)
        self.head = nn.Linear(self.outputs, 1)
        self.bias = ContextLogit(self.context.width, settings.bias_hidden)

    def forward(self, batch: Batch) -> Prediction:
        """Score the rows."""
        x = self.embed(batch).all_fields
        for block in self.blocks:
            x = block(x)
        logits = self.bias(one_logit(self.head, x), self.context_of(batch))
        return Prediction(logits, no_penalty(x))

    def cost(self) -> Cost:
        """The cost of the model."""
        return self._cost(backbone=(self.blocks, self.head), domain_multiply_adds=multiply_adds(self.bias))
