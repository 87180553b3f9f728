"""Settings of `model=epnet`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from adasparse_cli.choices import Between


@dataclass(frozen=True, kw_only=True)
class EpnetSettings:
    """Settings of EPNet.

    Args:
        gate_hidden: inner width of the gate.
    """

    name: str
    gate_hidden: Annotated[int, Between(1)]
