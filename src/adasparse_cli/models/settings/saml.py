"""Settings of `model=saml`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from adasparse_cli.choices import Between


@dataclass(frozen=True, kw_only=True)
class SamlSettings:
    """Settings of SAML.

    Args:
        branch_width: neurons of each branch.
        similarity_width: width of the vector u_d that describes a domain in the mutual unit.
    """

    name: str
    branch_width: Annotated[int, Between(1)]
    similarity_width: Annotated[int, Between(1)]
