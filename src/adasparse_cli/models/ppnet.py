"""PPNet: a gate that reads the domain and chosen ids scales every hidden neuron.

    g^l = 2 σ(W₂^l ReLU(W₁^l [c ; ids ; stop(e_a)] + b₁^l) + b₂^l)
    h^l = act(normalise(W^l h^(l−1) + b^l)) ⊙ g^l,   h^0 = [e_a ; e_d],   logit = w · h^L + b

c is the domain context (layers/context.py). stop(e) passes no gradient. The tower trains all embeddings, and the gates
also train the ids.

Source: Chang et al., PEPNet: Parameter and Embedding Personalized Network, KDD 2023 (arXiv 2302.01115),
only its second half. Differences: the paper's gates read the ids of user, item and author. Ours read the
domain context and the fields in `id_fields`, by default the two domain-agnostic fields with the most
values, which are user and item in most logs. A field of `id_fields` is also part of the stopped inputs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from adasparse_cli.batches import Batch, Prediction, no_penalty
from adasparse_cli.choices import FieldRole
from adasparse_cli.errors import UsageError
from adasparse_cli.layers.gate_unit import GateUnit
from adasparse_cli.models.base import Cost, DataShape, Model, NetworkSettings, multiply_adds, one_logit
from adasparse_cli.models.settings.ppnet import PpnetSettings

# User and item in most logs.
LARGEST = 2


class Ppnet(Model):
    """A DNN whose hidden neurons are scaled by gates that read the domain and chosen ids."""

    Settings = PpnetSettings
    reads_context = True

    def __init__(self, settings: PpnetSettings, network: NetworkSettings, shape: DataShape) -> None:
        super().__init__(network, shape)
        agnostic = [field for field in shape.fields if field.role is FieldRole.domain_agnostic]
        largest = sorted(agnostic, key=lambda field: -field.size)[:LARGEST]  # of equal ones the first
        names = [field.name for field in largest] if settings.id_fields is None else settings.id_fields
        try:
            columns = self.embedding.columns_of(names)
        except KeyError as error:
            known = [field.name for field in agnostic]
            raise UsageError(
                f"model.id_fields names {error.args[0]!r}, which is not a domain-agnostic field of these data",
                hint=f"valid fields: {', '.join(known)}",
            ) from None
        self.register_buffer("id_columns", torch.tensor(columns, dtype=torch.long), persistent=False)
        row_width = len(columns) + self.embedding.agnostic_width
        self.blocks = self.hidden_blocks(self.inputs)
        self.gates = nn.ModuleList(
            GateUnit(self.context.width, row_width, hidden=settings.gate_hidden, outputs=width)
            for width in network.hidden
        )
        self.head = nn.Linear(self.outputs, 1)

    id_columns: Tensor

    def forward(self, batch: Batch) -> Prediction:
        """Score the rows."""
        embedded = self.embed(batch)
        seen = embedded.agnostic.detach()
        if len(self.id_columns):
            seen = torch.cat([embedded.agnostic[:, self.id_columns], seen], dim=1)
        x, context = embedded.all_fields, self.context_of(batch)
        for block, gate in zip(self.blocks, self.gates, strict=True):
            x = block(x) * gate(context, seen)
        return Prediction(one_logit(self.head, x), no_penalty(x))

    def cost(self) -> Cost:
        """The cost of the model."""
        return self._cost(backbone=(self.blocks, self.head), domain_multiply_adds=multiply_adds(self.gates))
