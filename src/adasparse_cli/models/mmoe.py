"""MMoE: shared experts, and for each domain a gate that mixes them and a tower that reads the mixture.

    x = [e_a ; e_d],   E_i = MLP_i(x)  for the experts i = 1 … n
    a = softmax(G_d x),   r = Σ_i a_i E_i,   logit = tower_d(r)

An expert has all hidden layers of the network except the last; a tower has the last one and a head. If the network has one
hidden layer, it belongs to the experts. A row thus passes as many layers as in the DNN. G_d and each layer of tower_d are
(W + V_d) x + b + c_d, where W and b are shared (layers/domain_linear.py).

Source: Ma et al., Modeling Task Relationships in Multi-task Learning with Multi-gate Mixture-of-Experts, KDD 2018, with a
domain as the task. Differences: a row has one task, its domain, so one gate and one tower are computed for it. Separate gates
and towers of domains with few rows would hardly be trained. All therefore start as shared ones, with V_d and c_d at 0; they
can represent the same functions as separate ones. A domain that is unseen in training uses the shared ones. A batch is sorted by
domain and multiplied in groups, and only the domains in a batch are updated. Normalisation in a tower uses the statistics of
the rows of all domains.
"""

from __future__ import annotations

from torch import Tensor, nn

from adasparse_cli.batches import Batch, Prediction, no_penalty
from adasparse_cli.layers.domain_linear import DomainLinear
from adasparse_cli.layers.domain_tower import DomainTower, mixed
from adasparse_cli.layers.grouped import group_rows
from adasparse_cli.models.base import Cost, DataShape, Model, NetworkSettings, multiply_adds
from adasparse_cli.models.settings.mmoe import MmoeSettings


class Mmoe(Model):
    """Shared experts with one gate and one tower per domain."""

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
        """The shared bias; each domain adds its bias, which starts at 0."""
        return self.tower.head.shared.bias

    def cost(self) -> Cost:
        """The cost of the model; all experts but the first, and the gates, count as added for the domains."""
        added = (len(self.experts) - 1) * multiply_adds(self.experts[0]) + multiply_adds(self.gate)
        own = self.gate.multiply_adds() + self.tower.multiply_adds()
        return self._cost(backbone=(self.experts[0], *self.tower.shared()), domain_multiply_adds=added + own)
