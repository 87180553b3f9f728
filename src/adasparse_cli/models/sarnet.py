"""SAR-Net: embeddings are transformed per domain, and a gate mixes shared and private experts.

    x'  = [e_a ; e_d] ⊙ β_d + γ_d                                                   scenario transform
    h   = the hidden layers except the last, on x'
    E_i = block_i(h)  for the shared experts,   E_d = act(W_d h + b_d)  for the domain's own
    a   = softmax((G + G_d) x'),   r = Σ a E,   logit = w · r + b

Source: Shen et al., SAR-Net: A Scenario-Aware Ranking Network for Personalized Fair Recommendation in
Hundreds of Travel Scenarios, CIKM 2021 (arXiv 2110.06475). Differences: no attention over behaviour
sequences, which logs such as IAAC's do not have; the experts share the layers below their last, so
that hundreds of domains stay affordable; the multi-gate is a shared gate plus a private part that starts at
zero. A domain that is unseen in training has β = 1, γ = 0, the shared gate, and no private expert. Batch
normalisation, if enabled, uses the statistics of the rows of all domains.
"""

from __future__ import annotations

import torch
from torch import nn

from adasparse_cli.batches import Batch, Prediction, no_penalty
from adasparse_cli.layers.grouped import DomainTable, group_rows, grouped_linear
from adasparse_cli.layers.mlp import Block
from adasparse_cli.models.base import Cost, DataShape, Model, NetworkSettings, multiply_adds, one_logit
from adasparse_cli.models.settings.sarnet import SarnetSettings


class Sarnet(Model):
    """A scenario transform of the embeddings, then shared and private experts with one gate."""

    Settings = SarnetSettings
    twice_differentiable = False
    minimum_hidden = 1

    def __init__(self, settings: SarnetSettings, network: NetworkSettings, shape: DataShape) -> None:
        super().__init__(network, shape)
        self.settings = settings
        domains, width, own = shape.num_domains, self.outputs, settings.domain_experts
        self.transform_scale = DomainTable(domains, torch.ones(self.inputs))
        self.transform_shift = DomainTable(domains, torch.zeros(self.inputs))
        blocks = list(self.hidden_blocks(self.inputs))
        self.blocks = nn.ModuleList(blocks[:-1])
        self.experts = nn.ModuleList([blocks[-1], *(self.last_block() for _ in range(settings.shared_experts - 1))])
        of_domain = [self.last_block() for _ in range(own)]  # initial values of a domain's private experts
        self.own_weight = DomainTable(domains, torch.cat([block.linear.weight.detach() for block in of_domain]))
        self.own_bias = DomainTable(domains, torch.zeros(own * width))
        self.own_after = nn.ModuleList(block.after for block in of_domain)
        self.gate = nn.Linear(self.inputs, settings.shared_experts + own)
        self.own_gate = DomainTable(domains, torch.zeros_like(self.gate.weight.detach()))
        self.head = nn.Linear(width, 1)

    def forward(self, batch: Batch) -> Prediction:
        """Score the rows, sorted by domain."""
        places = self.places(batch)
        groups = group_rows(places)
        x = self.embed(batch).all_fields[groups.order]
        places = places[groups.order]
        x = x * self.transform_scale(places) + self.transform_shift(places)
        h = x
        for block in self.blocks:
            h = block(h)
        private = grouped_linear(h, groups, self.own_weight.weight, sparse=True) + self.own_bias(places)
        parts = private.chunk(self.settings.domain_experts, dim=1)
        own = [after(part) for after, part in zip(self.own_after, parts, strict=True)]
        experts = torch.stack([*(expert(h) for expert in self.experts), *own], dim=1)
        scores = self.gate(x) + grouped_linear(x, groups, self.own_gate.weight, sparse=True)
        unseen = (places == self.num_domains).unsqueeze(1)
        no_expert = torch.arange(scores.shape[1], device=scores.device) >= len(self.experts)
        shares = torch.softmax(scores.masked_fill(unseen & no_expert, float("-inf")), dim=1)
        r = (shares.unsqueeze(2) * experts).sum(1)
        return Prediction(one_logit(self.head, r[groups.back]), no_penalty(r))

    def cost(self) -> Cost:
        """The cost of the model; all experts but the first count as added for the domains."""
        expert = self.experts[0]
        assert isinstance(expert, Block)
        others = len(self.experts) - 1 + self.settings.domain_experts
        added = others * multiply_adds(expert) + 2 * multiply_adds(self.gate)
        return self._cost(backbone=(self.blocks, expert, self.head), domain_multiply_adds=added)
