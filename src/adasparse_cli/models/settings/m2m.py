"""Settings of `model=m2m`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from adasparse_cli.choices import Between


@dataclass(frozen=True, kw_only=True)
class M2mSettings:
    """Settings of M2M.

    Args:
        scenario_width: width of s, the scenario knowledge.
        experts: number of experts.
        tower_layers: number of Meta units after the attention.
    """

    name: str
    scenario_width: Annotated[int, Between(1)]
    experts: Annotated[int, Between(1)]
    tower_layers: Annotated[int, Between(0)]
