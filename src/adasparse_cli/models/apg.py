"""APG: the weights of each layer are generated from a condition, for example the row's domain.

    version 1   y = act(normalise(W_i x + b_i)),           W_i = reshape(G(z_i)) ∈ R^{out×in}
    version 4   y = act(normalise(U S_i V x + b_i)),       S_i = reshape(G(z_i)) ∈ R^{K×K}, U and V shared
    version 5   as 4, with U = U^l U^r and V = V^l V^r over an inner width P ≫ K: more parameters in training,
                the same cost per row
    logit = w · h^L + b

G is a small network, b_i = B z_i + b₀ a generated bias. The condition z_i is

    group   c, the row's domain context (layers/context.py): one S per condition
    self    the layer's own input x: one S per row
    mix     both, concatenated

Source: Yan et al., APG: Adaptive Parameter Generation Network for Click-Through Rate Prediction, NeurIPS
2022 (arXiv 2203.16218). Choices of this project: S_i starts near the identity; the head is a plain linear layer; `mix`
concatenates. Version 1 is only available for `group`: a full matrix per row would not fit in memory.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

from adasparse_cli.batches import Batch, Prediction, no_penalty
from adasparse_cli.choices import ApgCondition, ApgVersion
from adasparse_cli.errors import UsageError
from adasparse_cli.layers.context import Context, ReadsContext
from adasparse_cli.layers.grouped import group_rows, grouped_linear
from adasparse_cli.layers.mlp import Block, plain_mlp
from adasparse_cli.models.base import Cost, DataShape, Model, NetworkSettings, multiply_adds, one_logit
from adasparse_cli.models.settings.apg import ApgSettings


class ApgLayer(ReadsContext):
    """y_i = W_i x_i + b_i with a generated W_i, before normalisation and activation."""

    def __init__(self, inputs: int, outputs: int, context_width: int, settings: ApgSettings) -> None:
        super().__init__()
        self.inputs, self.outputs, self.settings = inputs, outputs, settings
        rank, inner = settings.rank, settings.over_parameters
        self.condition_width = {
            ApgCondition.group: context_width,
            ApgCondition.self: inputs,
            ApgCondition.mix: context_width + inputs,
        }[settings.condition]
        numbers = outputs * inputs if settings.version is ApgVersion.v1 else rank * rank
        self.generator = plain_mlp(self.condition_width, settings.generator_hidden, numbers)
        self.bias = nn.Linear(self.condition_width, outputs)
        nn.init.zeros_(self.bias.bias)
        self.down, self.up = nn.ParameterList(), nn.ParameterList()  # V and U as products
        last = self.generator[-1]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            if settings.version is ApgVersion.v1:
                start = torch.empty(outputs, inputs)
                nn.init.kaiming_uniform_(start, nonlinearity="relu")
                last.bias.copy_(start.flatten())
                last.weight.mul_(inputs**-0.5)  # scaled like W's entries
                return
            last.bias.copy_(torch.eye(rank).flatten())
        wide = settings.version is ApgVersion.v5
        for parts, shapes in (
            (self.down, [(rank, inner), (inner, inputs)] if wide else [(rank, inputs)]),
            (self.up, [(outputs, inner), (inner, rank)] if wide else [(outputs, rank)]),
        ):
            for place, shape in enumerate(shapes):
                # U V x keeps the variance that He's rule gives W x: 2 for the map that reads x, 1 for each after it
                gain = 2.0 if parts is self.down and place == len(shapes) - 1 else 1.0
                parts.append(nn.Parameter(torch.randn(shape) * (gain / shape[1]) ** 0.5))

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """Apply the generated weights of each row."""
        if self.settings.version is ApgVersion.v1:
            return self._whole(x, context)
        rank = self.settings.rank
        z = self._condition(x, context)
        small, bias = self.generator(z), self.bias(z)
        if self.settings.condition is ApgCondition.group:
            small, bias = (Context(made, context.of_row).by_row() for made in (small, bias))
        inner = functional.linear(x, _product(self.down))
        inner = torch.bmm(small.view(-1, rank, rank), inner.unsqueeze(2)).squeeze(2)
        result: Tensor = functional.linear(inner, _product(self.up)) + bias
        return result

    def multiply_adds(self) -> tuple[int, int]:
        """Multiply-adds per row of the shared and of the generated weights; U and V are multiplied out once per batch."""
        made = multiply_adds(self.generator) + multiply_adds(self.bias)
        if self.settings.version is ApgVersion.v1:
            return 0, made + self.inputs * self.outputs
        rank = self.settings.rank
        return rank * (self.inputs + self.outputs), made + rank * rank

    def _whole(self, x: Tensor, context: Context) -> Tensor:
        weights = self.generator(context.values).view(-1, self.outputs, self.inputs)
        groups = group_rows(context.of_row)
        y = grouped_linear(x[groups.order], groups, weights, sparse=False)[groups.back]
        return y + context.map(self.bias).by_row()

    def _condition(self, x: Tensor, context: Context) -> Tensor:
        if self.settings.condition is ApgCondition.group:
            return context.values
        if self.settings.condition is ApgCondition.self:
            return x
        return torch.cat([context.by_row(), x], dim=1)


class Apg(Model):
    """A fully connected network whose weights are generated per domain or per row."""

    Settings = ApgSettings
    reads_context = True

    def __init__(self, settings: ApgSettings, network: NetworkSettings, shape: DataShape) -> None:
        self.reads_context = settings.condition is not ApgCondition.self
        super().__init__(network, shape)
        if settings.version is ApgVersion.v1 and settings.condition is not ApgCondition.group:
            raise UsageError(
                f"model.version=v1 with model.condition={settings.condition} would generate a full matrix for each row",
                hint="use model.condition=group, or model.version=v5",
            )
        self.settings = settings
        self.twice_differentiable = settings.version is not ApgVersion.v1
        widths = [self.inputs, *network.hidden]
        self.layers = nn.ModuleList(
            ApgLayer(before, after, self.context.width if self.reads_context else 0, settings)
            for before, after in itertools.pairwise(widths)
        )
        self.after = nn.ModuleList(block.after for block in self.hidden_blocks(self.inputs) if isinstance(block, Block))
        self.head = nn.Linear(self.outputs, 1)

    def forward(self, batch: Batch) -> Prediction:
        """Score the rows."""
        h = self.embed(batch).all_fields
        nothing = Context(h.new_empty(0, 0), batch.condition_ids)
        context = self.context_of(batch, only_present=True) if self.reads_context else nothing
        for layer, after in zip(self.layers, self.after, strict=True):
            h = after(layer(h, context))
        return Prediction(one_logit(self.head, h), no_penalty(h))

    def cost(self) -> Cost:
        """The cost of the model; U, V and the head are the backbone, generated weights are the domain's part."""
        layers = [layer for layer in self.layers if isinstance(layer, ApgLayer)]
        shared = [part for layer in layers for part in (layer.down, layer.up)]
        counted = [layer.multiply_adds() for layer in layers]
        return self._cost(
            backbone=(*shared, self.after, self.head),
            backbone_multiply_adds=sum(own for own, _ in counted) + multiply_adds(self.head),
            domain_multiply_adds=sum(made for _, made in counted),
        )


def _product(parts: nn.ParameterList) -> Tensor:
    first, *rest = parts
    result: Tensor = first
    for part in rest:
        result = result @ part
    return result
