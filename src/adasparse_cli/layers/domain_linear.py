"""A linear map per domain, initialised as a shared map."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from adasparse_cli.layers.grouped import DomainTable, Groups, grouped_linear


class DomainLinear(nn.Module):
    """y_i = (W + V_d) x_i + b + c_d for rows sorted by domain, with V_d and c_d of the row's domain d.

    V_d and c_d start at 0: a domain starts with the shared map, and a domain that is unseen in training keeps it. Full
    matrices can represent every map, as separate matrices per domain can. With a rank r, V_d = P_d Q_d has
    r (inputs + outputs) numbers; Q_d starts equal for all domains, P_d at 0.

    Args:
        shared: W and b, or only W.
        num_domains: number of domains in training.
        rank: r; None for full matrices.
    """

    def __init__(self, shared: nn.Linear, num_domains: int, *, rank: int | None = None) -> None:
        super().__init__()
        self.shared = shared
        weight, bias = shared.weight.detach(), shared.bias
        self.first = None
        if rank is None:
            self.weight = DomainTable(num_domains, torch.zeros_like(weight))
        else:
            start = torch.empty(rank, shared.in_features)
            nn.init.kaiming_uniform_(start, nonlinearity="linear")
            self.first = DomainTable(num_domains, start)
            self.weight = DomainTable(num_domains, torch.zeros(shared.out_features, rank))
        self.bias = None if bias is None else DomainTable(num_domains, torch.zeros_like(bias.detach()))

    def forward(
        self, x: Float[Tensor, "rows inputs"], groups: Groups, places: Int[Tensor, " rows"]
    ) -> Float[Tensor, "rows outputs"]:
        """Apply the map of each row's domain; `x` and `places` are in the order of `groups`."""
        own = x if self.first is None else grouped_linear(x, groups, self.first.weight, sparse=True)
        y: Tensor = self.shared(x) + grouped_linear(own, groups, self.weight.weight, sparse=True)
        if self.bias is not None:
            y = y + self.bias(places)
        return y

    def multiply_adds(self) -> int:
        """Multiply-adds per row of the domain's part."""
        tables = [self.weight] if self.first is None else [self.first, self.weight]
        return sum(table.weight[0].numel() for table in tables)
