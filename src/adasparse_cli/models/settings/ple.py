"""Settings of `model=ple`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from adasparse_cli.choices import Between


@dataclass(frozen=True, kw_only=True)
class PleSettings:
    """Settings of PLE.

    Args:
        shared_experts: number of experts per level that all domains share.
        domain_experts: number of private experts per level and domain.
        full_domains: maximum number of training domains with which private experts have full matrices.
        rank: rank of the private part of an expert, with more domains than `full_domains`.
    """

    name: str
    shared_experts: Annotated[int, Between(1)]
    domain_experts: Annotated[int, Between(1)]
    full_domains: Annotated[int, Between(0)]
    rank: Annotated[int, Between(1)]
