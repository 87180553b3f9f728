"""The cross network of DCNv2."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn


class CrossNetwork(nn.Module):
    """x_{l+1} = x_0 ⊙ (W_l x_l + b_l) + x_l, starting at x_0.

    Args:
        width: of x. layers: number of cross layers.
        rank: W_l = U_l V_l with this inner width; None for a full matrix.

    Source: Wang et al., DCN V2, WWW 2021 (arXiv 2008.13535), without its mixture of low-rank experts.
    """

    def __init__(self, width: int, *, layers: int, rank: int | None) -> None:
        super().__init__()
        self.maps = nn.ModuleList(
            nn.Linear(width, width)
            if rank is None
            else nn.Sequential(nn.Linear(width, rank, bias=False), nn.Linear(rank, width))
            for _ in range(layers)
        )

    def forward(self, x: Float[Tensor, "rows width"]) -> Float[Tensor, "rows width"]:
        """Apply the cross layers to x."""
        crossed = x
        for linear in self.maps:
            crossed = x * linear(crossed) + crossed
        return crossed
