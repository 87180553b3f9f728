"""Settings of `model=ppnet`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from adasparse_cli.choices import Between


@dataclass(frozen=True, kw_only=True)
class PpnetSettings:
    """Settings of PPNet.

    Args:
        gate_hidden: inner width of each gate.
        id_fields: domain-agnostic fields that the gates read with gradient, in addition to the domain; null: the two with the
            most values.
    """

    name: str
    gate_hidden: Annotated[int, Between(1)]
    id_fields: tuple[str, ...] | None
