"""Settings of `model=star`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from adasparse_cli.choices import Between


@dataclass(frozen=True, kw_only=True)
class PartitionedNormSettings:
    """The partitioned normalisation.

    Args:
        enabled: whether inputs of the first layer are normalised by domain.
        minimum_rows: number of rows from which a domain's own statistics are used.
        window_rows: number of rows that the moving statistics average over.
        eps: constant added to the variance.
    """

    enabled: bool
    minimum_rows: Annotated[int, Between(2)]
    window_rows: Annotated[int, Between(2)]
    eps: Annotated[float, Between(0, exclusive=True)]


@dataclass(frozen=True, kw_only=True)
class StarSettings:
    """Settings of STAR.

    Args:
        auxiliary_hidden: widths of the auxiliary network's hidden layers.
    """

    name: str
    partitioned_norm: PartitionedNormSettings
    auxiliary_hidden: tuple[Annotated[int, Between(1)], ...]
