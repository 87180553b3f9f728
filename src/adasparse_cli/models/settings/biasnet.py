"""Settings of `model=biasnet`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from adasparse_cli.choices import Between


@dataclass(frozen=True, kw_only=True)
class BiasNetSettings:
    """Settings of the bias network.

    Args:
        bias_hidden: widths of g's hidden layers.
    """

    name: str
    bias_hidden: tuple[Annotated[int, Between(1)], ...]
