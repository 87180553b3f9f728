"""M2M: a domain's knowledge generates the weights that attend over experts and the tower behind them.

    s        = ReLU(W_s e_d + b_s)                                          the scenario's knowledge
    Meta(h)  = LeakyReLU(W h + b),  W = reshape(V_w s + c_w),  b = V_b s + c_b
    E_i      = expert_i(h),  a = softmax_i(vᵀ Meta_a([E_i ; t])),  r = Σ_i a_i E_i
    r       <- LeakyReLU(Meta_k(r) + r)   for each layer k of the tower,   logit = w · r + b

h is the plain network's last hidden layer but one, each expert one hidden layer of its last width, t a
learned vector for the task. Attention runs over the experts of one row, never across rows.

Source: Zhang et al., Leaving No One Behind: A Multi-Scenario Multi-Task Meta Learning Approach, WSDM 2022
(arXiv 2201.06814). Ours: one task; the experts share all layers below their last; no transformer over
behaviour sequences, which the data lack; a Meta unit has one layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional

from adasparse_cli.batches import Batch, Prediction, no_penalty
from adasparse_cli.choices import Between
from adasparse_cli.layers.grouped import Groups, group_rows, grouped_linear
from adasparse_cli.layers.mlp import Block
from adasparse_cli.models.base import Cost, DataShape, Model, NetworkSettings, multiply_adds, one_logit


@dataclass(frozen=True, kw_only=True)
class M2mSettings:
    """M2M's own settings.

    Args:
        scenario_width: width of s.
        experts: how many there are.
        tower_layers: Meta units behind the attention.
    """

    name: str
    scenario_width: Annotated[int, Between(1)]
    experts: Annotated[int, Between(1)]
    tower_layers: Annotated[int, Between(0)]


class MetaUnit(nn.Module):
    """y_i = W_g x_i + b_g with weights generated from each group's knowledge, for rows sorted by group."""

    def __init__(self, knowledge: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.inputs, self.outputs = inputs, outputs
        self.weight = nn.Linear(knowledge, outputs * inputs)
        self.bias = nn.Linear(knowledge, outputs)
        with torch.no_grad():
            start = torch.empty(outputs, inputs)
            nn.init.kaiming_uniform_(start, nonlinearity="relu")
            self.weight.bias.copy_(start.flatten())
            self.weight.weight.mul_(inputs**-0.5)  # as W's own entries are scaled
            self.bias.bias.zero_()

    def forward(self, x: Tensor, knowledge: Tensor, groups: Groups, group_of_row: Tensor) -> Tensor:
        """Apply each group's weights."""
        weights = self.weight(knowledge).view(-1, self.outputs, self.inputs)
        own = functional.embedding(group_of_row, self.bias(knowledge))
        return grouped_linear(x, groups, weights, sparse=False) + own

    def multiply_adds(self, times: int) -> int:
        """Per row that is multiplied `times` times."""
        return multiply_adds(self) + times * self.inputs * self.outputs


class M2m(Model):
    """Experts that share their lower layers, attended over and followed by layers the domain generates."""

    Settings = M2mSettings
    twice_differentiable = False
    minimum_hidden = 1

    def __init__(self, settings: M2mSettings, network: NetworkSettings, shape: DataShape) -> None:
        super().__init__(network, shape)
        width, knowledge = self.outputs, settings.scenario_width
        blocks = list(self.hidden_blocks(self.inputs))
        self.blocks = nn.ModuleList(blocks[:-1])
        self.experts = nn.ModuleList([blocks[-1], *(self.last_block() for _ in range(settings.experts - 1))])
        self.scenario = nn.Linear(self.embedding.aware_width, knowledge)
        self.task = nn.Parameter(torch.randn(width) * 0.1)
        self.attention = MetaUnit(knowledge, 2 * width, width)
        self.attention_head = nn.Linear(width, 1, bias=False)
        self.tower = nn.ModuleList(MetaUnit(knowledge, width, width) for _ in range(settings.tower_layers))
        self.head = nn.Linear(width, 1)

    def forward(self, batch: Batch) -> Prediction:
        """Score the rows, sorted by domain."""
        embedded = self.embed(batch)
        h = embedded.all_fields
        for block in self.blocks:
            h = block(h)
        groups = group_rows(embedded.condition_of_row)
        group_of_row = embedded.condition_of_row[groups.order]
        knowledge = functional.relu(self.scenario(embedded.conditions))
        experts = torch.stack([expert(h) for expert in self.experts], dim=1)[groups.order]
        number = experts.shape[1]
        asked = torch.cat([experts, self.task.expand_as(experts)], dim=2).flatten(0, 1)
        found = self.attention(asked, knowledge, groups.repeated(number), group_of_row.repeat_interleave(number))
        scores = self.attention_head(functional.leaky_relu(found)).view(-1, number)
        r = (torch.softmax(scores, dim=1).unsqueeze(2) * experts).sum(1)
        for unit in self.tower:
            r = functional.leaky_relu(functional.leaky_relu(unit(r, knowledge, groups, group_of_row)) + r)
        return Prediction(one_logit(self.head, r[groups.back]), no_penalty(r))

    def cost(self) -> Cost:
        """What the model weighs; all experts but the first count as added for the domains."""
        expert = self.experts[0]
        assert isinstance(expert, Block)
        number = len(self.experts)
        added = (number - 1) * multiply_adds(expert) + multiply_adds(self.scenario)
        added += self.attention.multiply_adds(number) + number * multiply_adds(self.attention_head)
        added += sum(unit.multiply_adds(1) for unit in self.tower if isinstance(unit, MetaUnit))
        return self._cost(backbone=(self.blocks, expert, self.head), domain_multiply_adds=added)
