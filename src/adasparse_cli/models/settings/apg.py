"""Settings of `model=apg`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from adasparse_cli.choices import ApgCondition, ApgVersion, Between


@dataclass(frozen=True, kw_only=True)
class ApgSettings:
    """Settings of APG.

    Args:
        version: full matrices (`v1`), shared outer factors (`v4`), or over-parameterised outer factors (`v5`).
        condition: input of the generator: the domain (`group`), the layer's input (`self`), or both (`mix`).
        rank: K, the inner width of versions 4 and 5.
        over_parameters: P, the inner width of U and V in version 5.
        generator_hidden: widths of G's hidden layers.
    """

    name: str
    version: ApgVersion
    condition: ApgCondition
    rank: Annotated[int, Between(1)]
    over_parameters: Annotated[int, Between(1)]
    generator_hidden: tuple[Annotated[int, Between(1)], ...]
