"""Hidden layers and towers per domain, and the mixture of experts that they read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from adasparse_cli.layers.domain_linear import DomainLinear
from adasparse_cli.layers.grouped import Groups
from adasparse_cli.layers.mlp import Block


class DomainBlock(nn.Module):
    """y = dropout(activation(normalise((W + V_d) x + b + c_d))): a `Block` with a linear map per domain.

    The normalisation uses the statistics of the rows of all domains.

    Args:
        block: shared layer with which every domain starts. rank: of V_d, see `DomainLinear`.
    """

    def __init__(self, block: nn.Module, num_domains: int, *, rank: int | None = None) -> None:
        super().__init__()
        assert isinstance(block, Block)
        self.linear = DomainLinear(block.linear, num_domains, rank=rank)
        self.after = block.after

    def forward(
        self, x: Float[Tensor, "rows inputs"], groups: Groups, places: Int[Tensor, " rows"]
    ) -> Float[Tensor, "rows outputs"]:
        """Apply the layer; `x` and `places` are in the order of `groups`."""
        result: Tensor = self.after(self.linear(x, groups, places))
        return result


class DomainTower(nn.Module):
    """Hidden layers and a head per domain.

    Args:
        blocks: shared hidden layers with which every domain starts; none for only a head.
        width: input width of the head.
    """

    def __init__(self, blocks: Iterable[nn.Module], width: int, num_domains: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(DomainBlock(block, num_domains) for block in blocks)
        self.head = DomainLinear(nn.Linear(width, 1), num_domains)

    def forward(
        self, x: Float[Tensor, "rows width"], groups: Groups, places: Int[Tensor, " rows"]
    ) -> Float[Tensor, " rows"]:
        """One logit per row, in the order of the rows before they were sorted into `groups`."""
        for block in self.blocks:
            x = block(x, groups, places)
        logits: Tensor = self.head(x, groups, places)[groups.back].squeeze(1)
        return logits

    def shared(self) -> list[nn.Module]:
        """The modules that the domains share."""
        parts: list[nn.Module] = [self.head.shared]
        for block in self.blocks:
            assert isinstance(block, DomainBlock)
            parts += [block.linear.shared, block.after]
        return parts

    def multiply_adds(self) -> int:
        """Multiply-adds per row of the domains' part."""
        return sum(part.multiply_adds() for part in self.modules() if isinstance(part, DomainLinear))


def mixed(
    scores: Float[Tensor, "rows experts"], experts: Sequence[Float[Tensor, "rows width"]]
) -> Float[Tensor, "rows width"]:
    """Σ_i a_i E_i with a = softmax(scores)."""
    return (torch.softmax(scores, dim=1).unsqueeze(2) * torch.stack(list(experts), dim=1)).sum(1)
