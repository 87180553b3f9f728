"""MMoE: shared experts, and for each domain a gate that mixes them and a tower that reads the mixture.

    x = [e_a ; e_d],   E_i = MLP_i(x)  for the experts i = 1 … n
    a = softmax(G_d x),   r = Σ_i a_i E_i,   logit = tower_d(r)

An expert has the hidden layers of the network but the last, and a tower has that last one and a head; a network of one hidden
layer has it in the experts. So a row passes as many layers as in the DNN. G_d and each layer of tower_d are (W + V_d) x + b + c_d, where W and b
are shared (layers/domain_linear.py).

Source: Ma et al., Modeling Task Relationships in Multi-task Learning with Multi-gate Mixture-of-Experts, KDD 2018, with a
domain as the task. Where we differ: a row has one task, its domain's, so one gate and one tower are computed for it. Gates and towers
of domains with few rows would hardly be trained, so all start as shared ones and V_d, c_d at 0; the functions that can be
reached are those of gates and towers of each domain's own. A domain not seen in training has the shared ones. A batch is sorted by
domain and multiplied in groups, and only the domains of a batch are updated. Normalisation in a tower takes its statistics over rows of all domains.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor, nn

from adasparse_cli.batches import Batch, Prediction, no_penalty
from adasparse_cli.choices import Between
from adasparse_cli.layers.domain_linear import DomainLinear
from adasparse_cli.layers.domain_tower import DomainTower, mixed
from adasparse_cli.layers.grouped import group_rows
from adasparse_cli.models.base import Cost, DataShape, Model, NetworkSettings, multiply_adds


@dataclass(frozen=True, kw_only=True)
class MmoeSettings:
    """MMoE's own settings.

    Args:
        experts: n, experts that all domains share.
    """

    name: str
    experts: Annotated[int, Between(1)]


class Mmoe(Model):
    """Shared experts under one gate and one tower per domain."""

    Settings = MmoeSettings
    twice_differentiable = False
    minimum_hidden = 1

    def __init__(self, settings: MmoeSettings, network: NetworkSettings, shape: DataShape) -> None:
        super().__init__(network, shape)
        domains, below = shape.num_domains, max(1, len(network.hidden) - 1)
        stacks = [list(self.hidden_blocks(self.inputs)) for _ in range(settings.experts)]
        self.experts = nn.ModuleList(nn.Sequential(*stack[:below]) for stack in stacks)
        self.gate = DomainLinear(nn.Linear(self.inputs, settings.experts, bias=False), domains)
        self.tower = DomainTower(stacks[0][below:], self.outputs, domains)

    def forward(self, batch: Batch) -> Prediction:
        """Score the rows, sorted by domain."""
        places = self.places(batch)
        groups = group_rows(places)
        x, places = self.embed(batch).all_fields[groups.order], places[groups.order]
        r = mixed(self.gate(x, groups, places), [expert(x) for expert in self.experts])
        return Prediction(self.tower(r, groups, places), no_penalty(r))

    def head_bias(self) -> Tensor:
        """The shared one; each domain adds its own, which starts at 0."""
        return self.tower.head.shared.bias

    def cost(self) -> Cost:
        """What the model weighs; all experts but the first, and the gates, count as added for the domains."""
        added = (len(self.experts) - 1) * multiply_adds(self.experts[0]) + multiply_adds(self.gate)
        own = self.gate.multiply_adds() + self.tower.multiply_adds()
        return self._cost(backbone=(self.experts[0], *self.tower.shared()), domain_multiply_adds=added + own)
