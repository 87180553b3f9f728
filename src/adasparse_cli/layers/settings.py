"""The settings of layers that several models have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from adasparse_cli.choices import Between, ContextNormalisation


@dataclass(frozen=True, kw_only=True)
class ContextSettings:
    """The domain context (`network.context`).

    Args:
        width: width of a domain-aware field's embedding in the domain context.
        std: standard deviation of these embeddings' initial values.
        gain: initial value of a learnable factor on the context; null for none.
        normalisation: `layer` normalises each condition's numbers to mean 0 and variance 1; `none` does not.
    """

    width: Annotated[int, Between(1)]
    std: Annotated[float, Between(0)]
    gain: Annotated[float, Between(0, exclusive=True)] | None
    normalisation: ContextNormalisation


@dataclass(frozen=True, kw_only=True)
class CrossSettings:
    """The cross network.

    Args:
        layers: number of cross layers.
        rank: inner width of each W_l; null for full matrices.
    """

    layers: Annotated[int, Between(1)]
    rank: Annotated[int, Between(1)] | None
