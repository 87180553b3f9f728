"""Settings of `model=mmoe`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from adasparse_cli.choices import Between


@dataclass(frozen=True, kw_only=True)
class MmoeSettings:
    """Settings of MMoE.

    Args:
        experts: n, number of experts that all domains share.
    """

    name: str
    experts: Annotated[int, Between(1)]
