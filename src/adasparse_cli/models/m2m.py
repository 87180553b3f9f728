"""M2M: the domain generates the weights of an attention over experts and of the tower after it.

    s        = ReLU(W_s c + b_s)                                            scenario knowledge
    Meta(h)  = LeakyReLU(W h + b),  W = reshape(V_w s + c_w),  b = V_b s + c_b
    E_i      = expert_i(h),  a = softmax_i(vᵀ Meta_a([E_i ; t])),  r = Σ_i a_i E_i
    r       <- LeakyReLU(Meta_k(r) + r)   for each layer k of the tower,   logit = w · r + b

c is the domain context (layers/context.py). h is the second to last hidden layer of the DNN. Each expert is one hidden
layer of the last width, t a learned vector for the task. Attention is over the experts of one row, never across rows.

Source: Zhang et al., Leaving No One Behind: A Multi-Scenario Multi-Task Meta Learning Approach, WSDM 2022
(arXiv 2201.06814). Choices of this project: one task; the experts share all layers below their last; no transformer over
behaviour sequences, which the data do not have; a Meta unit has one layer.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from adasparse_cli.batches import Batch, Prediction, no_penalty
from adasparse_cli.layers.context import Context, ReadsContext
from adasparse_cli.layers.grouped import Groups, group_rows, grouped_linear
from adasparse_cli.layers.mlp import Block
from adasparse_cli.models.base import Cost, DataShape, Model, NetworkSettings, multiply_adds, one_logit
from adasparse_cli.models.settings.m2m import M2mSettings


class MetaUnit(ReadsContext):
    """y_i = W_g [x_i ; z] + b_g with weights generated from each group's knowledge, for rows sorted by group.

    z is one vector for all rows, or absent. W_g z + b_g is one vector per group: the generator's rows for
    z's columns are applied to z before they are applied to a group's knowledge, so those columns of W_g are never computed.

    Args:
        inputs: width of x. constants: width of z, 0 for none.
    """

    def __init__(self, knowledge: int, inputs: int, outputs: int, *, constants: int = 0) -> None:
        super().__init__()
        self.inputs, self.outputs = inputs, outputs
        start = torch.empty(outputs, inputs + constants)
        nn.init.kaiming_uniform_(start, nonlinearity="relu")
        self.weight = _generator(knowledge, start[:, :inputs], columns=inputs + constants)
        self.constant_weight = (
            _generator(knowledge, start[:, inputs:], columns=inputs + constants) if constants else None
        )
        self.bias = nn.Linear(knowledge, outputs)
        nn.init.zeros_(self.bias.bias)

    def forward(self, x: Tensor, knowledge: Context, groups: Groups, constant: Tensor | None = None) -> Tensor:
        """Apply each group's weights; `constant` is z."""
        s = knowledge.values
        weights = self.weight(s).view(-1, self.outputs, self.inputs)
        of_group = self.bias(s)
        if self.constant_weight is not None:
            assert constant is not None
            # [outputs, knowledge] and [outputs]: V_w and c_w with z already multiplied in
            by_knowledge = torch.einsum(
                "ozk,z->ok", self.constant_weight.weight.view(self.outputs, len(constant), -1), constant
            )
            by_itself = self.constant_weight.bias.view(self.outputs, -1) @ constant
            of_group = of_group + functional.linear(s, by_knowledge, by_itself)
        return grouped_linear(x, groups, weights, sparse=False) + Context(of_group, knowledge.of_row).by_row()

    def multiply_adds(self, times: int) -> int:
        """Multiply-adds per row, if the row is multiplied `times` times."""
        of_group = multiply_adds(self.bias) * (1 if self.constant_weight is None else 2)
        return multiply_adds(self.weight) + of_group + times * self.inputs * self.outputs


def _generator(knowledge: int, start: Tensor, *, columns: int) -> nn.Linear:
    """A generator of `columns` columns of W, initialised near `start`."""
    generator = nn.Linear(knowledge, start.numel())
    with torch.no_grad():
        generator.bias.copy_(start.flatten())
        generator.weight.mul_(columns**-0.5)  # scaled like W's entries
    return generator


class M2m(Model):
    """Experts with shared lower layers, followed by attention and layers that the domain generates."""

    Settings = M2mSettings
    reads_context = True
    twice_differentiable = False
    minimum_hidden = 1

    def __init__(self, settings: M2mSettings, network: NetworkSettings, shape: DataShape) -> None:
        super().__init__(network, shape)
        width, knowledge = self.outputs, settings.scenario_width
        blocks = list(self.hidden_blocks(self.inputs))
        self.blocks = nn.ModuleList(blocks[:-1])
        self.experts = nn.ModuleList([blocks[-1], *(self.last_block() for _ in range(settings.experts - 1))])
        self.scenario = nn.Linear(self.context.width, knowledge)
        self.task = nn.Parameter(torch.randn(width) * 0.1)
        self.attention = MetaUnit(knowledge, width, width, constants=width)
        self.attention_head = nn.Linear(width, 1, bias=False)
        self.tower = nn.ModuleList(MetaUnit(knowledge, width, width) for _ in range(settings.tower_layers))
        self.head = nn.Linear(width, 1)

    def forward(self, batch: Batch) -> Prediction:
        """Score the rows, sorted by domain."""
        h = self.embed(batch).all_fields
        for block in self.blocks:
            h = block(h)
        context = self.context_of(batch, only_present=True)
        groups = group_rows(context.of_row)
        knowledge = Context(functional.relu(self.scenario(context.values)), context.of_row[groups.order])
        experts = torch.stack([expert(h) for expert in self.experts], dim=1)[groups.order]
        number = experts.shape[1]
        asked = Context(knowledge.values, knowledge.of_row.repeat_interleave(number))
        found = self.attention(experts.flatten(0, 1), asked, groups.repeated(number), self.task)
        scores = self.attention_head(functional.leaky_relu(found)).view(-1, number)
        r = (torch.softmax(scores, dim=1).unsqueeze(2) * experts).sum(1)
        for unit in self.tower:
            r = functional.leaky_relu(functional.leaky_relu(unit(r, knowledge, groups)) + r)
        return Prediction(one_logit(self.head, r[groups.back]), no_penalty(r))

    def cost(self) -> Cost:
        """The cost of the model; all experts but the first count as added for the domains."""
        expert = self.experts[0]
        assert isinstance(expert, Block)
        number = len(self.experts)
        added = (number - 1) * multiply_adds(expert) + multiply_adds(self.scenario)
        added += self.attention.multiply_adds(number) + number * multiply_adds(self.attention_head)
        added += sum(unit.multiply_adds(1) for unit in self.tower if isinstance(unit, MetaUnit))
        return self._cost(backbone=(self.blocks, expert, self.head), domain_multiply_adds=added)
