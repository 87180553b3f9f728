"""EPNet: a gate that reads the domain scales every number of the embeddings.

    δ = 2 σ(W₂ ReLU(W₁ [c ; stop(e_a)] + b₁) + b₂),   logit = w · MLP(δ ⊙ [e_a ; e_d]) + b

c is the domain context (layers/context.py). stop(e) passes no gradient: the gate does not train the embeddings that it
reads. The tower trains all of them.

Source: Chang et al., PEPNet: Parameter and Embedding Personalized Network, KDD 2023 (arXiv 2302.01115),
only its first half. Differences: the gate reads c instead of e_d, and e_d is not part of the stopped inputs.
"""

from __future__ import annotations

from torch import nn

from adasparse_cli.batches import Batch, Prediction, no_penalty
from adasparse_cli.layers.gate_unit import GateUnit
from adasparse_cli.models.base import Cost, DataShape, Model, NetworkSettings, multiply_adds, one_logit
from adasparse_cli.models.settings.epnet import EpnetSettings


class Epnet(Model):
    """A DNN on embeddings that a gate scales by domain."""

    Settings = EpnetSettings
    reads_context = True

    def __init__(self, settings: EpnetSettings, network: NetworkSettings, shape: DataShape) -> None:
        super().__init__(network, shape)
        widths = self.context.width, self.embedding.agnostic_width
        self.gate = GateUnit(*widths, hidden=settings.gate_hidden, outputs=self.inputs)
        self.blocks = self.hidden_blocks(self.inputs)
        self.head = nn.Linear(self.outputs, 1)

    def forward(self, batch: Batch) -> Prediction:
        """Score the rows."""
        embedded = self.embed(batch)
        gates = self.gate(self.context_of(batch), embedded.agnostic.detach())
        x = embedded.all_fields * gates
        for block in self.blocks:
            x = block(x)
        return Prediction(one_logit(self.head, x), no_penalty(x))

    def cost(self) -> Cost:
        """The cost of the model."""
        return self._cost(backbone=(self.blocks, self.head), domain_multiply_adds=multiply_adds(self.gate))
