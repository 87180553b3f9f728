"""Settings of `model=sarnet`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from adasparse_cli.choices import Between


@dataclass(frozen=True, kw_only=True)
class SarnetSettings:
    """Settings of SAR-Net.

    Args:
        shared_experts: number of experts that every domain uses.
        domain_experts: number of private experts per domain.
    """

    name: str
    shared_experts: Annotated[int, Between(1)]
    domain_experts: Annotated[int, Between(1)]
