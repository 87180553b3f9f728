"""SAML: a global and a per-domain view of the embeddings, and one branch per domain that learns from similar domains.

    x    = [e_a ; e_d],          x_d = x ⊙ p_d + q_d                the global and the domain's own subspace
    a    = MLP(x)                                                   the auxiliary network, shared
    c_d  = ReLU(W̃_d [x_d ; c] + b_d)                                the branch of the row's domain
    W̃_d  = (1 − g) W_d + g Σ_j s_dj W_j,   g = σ(g₀)                 the mutual unit
    s_dj = φ(u_d) · φ(u_j) / Σ_k φ(u_d) · φ(u_k),   φ = softplus     learned similarity of domains
    logit = w · [a ; c_d] + b

c is the domain context (layers/context.py).

Mixing the branches' matrices equals mixing their outputs before the activation, and costs one branch per
row. The factorised similarity makes the sum over all domains linear in their number.

Source: Chen et al., Scenario-aware and Mutual-based approach for Multi-scenario Recommendation in E-Commerce,
ICDM workshops 2020 (arXiv 2012.08952). Its equations were not available: this model follows its
description, and every formula above is this project's. A domain that is unseen in training has p = 1, q = 0, b = 0 and the
mixture of all branches (g = 1) with the initial similarity.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from adasparse_cli.batches import Batch, Prediction, no_penalty
from adasparse_cli.layers.context import Context, ReadsContext
from adasparse_cli.layers.grouped import DomainTable, Groups, group_rows, grouped_linear
from adasparse_cli.models.base import Cost, DataShape, Model, NetworkSettings, one_logit
from adasparse_cli.models.settings.saml import SamlSettings


class _Branches(ReadsContext):
    """W̃_d [x_d ; c], for rows sorted by domain."""

    def forward(self, x: Tensor, context: Context, groups: Groups, mixed: Tensor) -> Tensor:
        """`context` is in the order of the sorted rows; `mixed` has one matrix per domain in the batch."""
        return grouped_linear(torch.cat([x, context.by_row()], dim=1), groups, mixed, sparse=False)


class Saml(Model):
    """A shared network in parallel with one small branch per domain; learned similarity mixes the branches."""

    Settings = SamlSettings
    reads_context = True
    twice_differentiable = False

    def __init__(self, settings: SamlSettings, network: NetworkSettings, shape: DataShape) -> None:
        super().__init__(network, shape)
        domains = shape.num_domains
        self.subspace_scale = DomainTable(domains, torch.ones(self.inputs))
        self.subspace_shift = DomainTable(domains, torch.zeros(self.inputs))
        self.blocks = self.hidden_blocks(self.inputs)
        start = torch.empty(settings.branch_width, self.inputs + self.context.width)
        nn.init.kaiming_uniform_(start, nonlinearity="relu")
        # Parameters of domains seen in training. Each step reads all of them, so the gradient is dense.
        self.branches = nn.Parameter(start.expand(domains, -1, -1).clone())
        self.product = _Branches()
        self.branch_bias = DomainTable(domains, torch.zeros(settings.branch_width))
        self.similarity = nn.Parameter(torch.randn(domains + 1, settings.similarity_width) * 0.1)
        with torch.no_grad():
            self.similarity[-1] = 0.0
        self.mixing = nn.Parameter(torch.zeros(()))
        self.head = nn.Linear(self.outputs + settings.branch_width, 1)

    def forward(self, batch: Batch) -> Prediction:
        """Score the rows, sorted by domain."""
        x = self.embed(batch).all_fields
        a = x
        for block in self.blocks:
            a = block(a)
        places = self.places(batch)
        groups = group_rows(places)
        own = places[groups.order]
        x_d = x[groups.order] * self.subspace_scale(own) + self.subspace_shift(own)
        context = self.context_of(batch)
        context = Context(context.values, context.of_row[groups.order])
        c = self.product(x_d, context, groups.numbered(), self._mixed(groups.members)) + self.branch_bias(own)
        both = torch.cat([a, functional.relu(c)[groups.back]], dim=1)
        return Prediction(one_logit(self.head, both), no_penalty(both))

    def cost(self) -> Cost:
        """The cost of the model: one branch per row, and the mixing once per domain."""
        branch = self.branches[0].numel()
        mixing = self.similarity.shape[1] * (branch + 1)
        return self._cost(backbone=(self.blocks, self.head), domain_multiply_adds=branch + mixing)

    def _mixed(self, members: Tensor) -> Tensor:
        """W̃ of each domain in the batch."""
        described = functional.softplus(self.similarity)
        seen, asked = described[:-1], described[members]
        summed = seen.t() @ self.branches.flatten(1)
        mixture = (asked @ summed) / (asked @ seen.sum(0).unsqueeze(1))
        known = members < self.num_domains
        private = self.branches.flatten(1)[members.clamp(max=self.num_domains - 1)]
        share = torch.where(known, torch.sigmoid(self.mixing), 1.0).unsqueeze(1)
        return torch.lerp(private, mixture, share).view(len(members), *self.branches.shape[1:])
