"""The values that `model=ple` can be given."""

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
        full_domains: up to this number of domains in training, private experts have full matrices.
        rank: rank of the private part of an expert, with more domains.
    """

    name: str
    shared_experts: Annotated[int, Between(1)]
    domain_experts: Annotated[int, Between(1)]
    full_domains: Annotated[int, Between(0)]
    rank: Annotated[int, Between(1)]
