"""STAR: every domain has its own network, the shared network with its weights scaled per domain.

    x   = PN([e_a ; e_d])                                      see layers/partitioned_norm.py
    h^l = act(normalise((W_d^l ⊙ W^l) h^(l−1) + b_d^l + b^l))  for the row's domain d; h^0 = x
    logit = (w_d ⊙ w) · h^L + b_d + b + auxiliary(c)

The head has factors like the layers below it. Neither logit has an activation.

Source: Sheng et al., One Model to Serve All: Star Topology Adaptive Recommender, CIKM 2021 (arXiv
2101.11427). Choices of this project where the paper says nothing: W_d starts at 1 and b_d at 0, so that a domain starts
with the shared network, and a domain that is unseen in training is scored with it; the auxiliary network reads only the
domain context c (layers/context.py). Differences: a domain with few rows in a batch is normalised by its moving
statistics. A batch is sorted by domain and multiplied in groups, and only the domains in a batch are updated:
Adam's moments of a domain do not change while it is absent. `normalise` in the hidden layers (a setting of the network,
common to all models) uses the statistics of the rows of all domains; only the partitioned normalisation separates them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from adasparse_cli.batches import Batch, Prediction, no_penalty
from adasparse_cli.layers.context_logit import ContextLogit
from adasparse_cli.layers.grouped import DomainTable, Groups, group_rows, grouped_linear
from adasparse_cli.layers.mlp import Block
from adasparse_cli.layers.partitioned_norm import PartitionedNorm
from adasparse_cli.models.base import Cost, DataShape, Model, NetworkSettings, multiply_adds
from adasparse_cli.models.settings.star import StarSettings


class StarLinear(nn.Module):
    """y_i = (W_d ⊙ W) x_i + b_d + b, for rows sorted by domain.

    Args:
        shared: W and b, shared by all domains.
    """

    def __init__(self, num_domains: int, shared: nn.Linear) -> None:
        super().__init__()
        self.shared = shared
        self.domain_weight = DomainTable(num_domains, torch.ones_like(shared.weight.detach()))
        self.domain_bias = DomainTable(num_domains, torch.zeros_like(shared.bias.detach()))

    def forward(self, x: Tensor, groups: Groups, places: Tensor) -> Tensor:
        """Multiply each row by its domain's matrix; `places` are the sorted rows' domains."""
        y = grouped_linear(x, groups, self.domain_weight.weight, shared=self.shared.weight, sparse=True)
        result: Tensor = y + self.shared.bias + self.domain_bias(places)
        return result


class Star(Model):
    """One shared network and one network of factors per domain, multiplied element by element."""

    Settings = StarSettings
    reads_context = True
    twice_differentiable = False

    def __init__(self, settings: StarSettings, network: NetworkSettings, shape: DataShape) -> None:
        super().__init__(network, shape)
        norm = settings.partitioned_norm
        self.norm = (
            PartitionedNorm(
                shape.num_domains,
                self.inputs,
                minimum_rows=norm.minimum_rows,
                window_rows=norm.window_rows,
                eps=norm.eps,
            )
            if norm.enabled
            else None
        )
        self.spans_ranks = not norm.enabled
        blocks = self.hidden_blocks(self.inputs)
        head = nn.Linear(self.outputs, 1)
        linears = [block.linear for block in blocks if isinstance(block, Block)]
        self.layers = nn.ModuleList(StarLinear(shape.num_domains, linear) for linear in [*linears, head])
        self.after = nn.ModuleList(block.after for block in blocks if isinstance(block, Block))
        self.auxiliary = ContextLogit(self.context.width, settings.auxiliary_hidden)

    def forward(self, batch: Batch) -> Prediction:
        """Score the rows, sorted by domain."""
        h = self.embed(batch).all_fields
        places = self.places(batch)
        groups = group_rows(places)
        h = h if self.norm is None else self.norm(h, places)
        h, places = h[groups.order], places[groups.order]
        for k, layer in enumerate(self.layers):
            h = layer(h, groups, places)
            if k < len(self.after):
                h = self.after[k](h)
        logits = self.auxiliary(h[groups.back].squeeze(1), self.context_of(batch))
        return Prediction(logits, no_penalty(logits))

    def head_bias(self) -> Tensor:
        """The bias of the shared head; each domain adds its bias, which starts at 0."""
        head = self.layers[-1]
        assert isinstance(head, StarLinear)
        return head.shared.bias

    def cost(self) -> Cost:
        """The cost of the model. The number of factors is the number of shared weights times the number of domains."""
        shared = [layer.shared for layer in self.layers if isinstance(layer, StarLinear)]
        return self._cost(backbone=(*shared, self.after), domain_multiply_adds=multiply_adds(self.auxiliary))
