"""Settings of `model=lr`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from adasparse_cli.choices import Between, Crosses


@dataclass(frozen=True, kw_only=True)
class LrSettings:
    """Settings of the logistic regression. From `network`, it only uses `pooling`.

    Args:
        crosses: `domain` for additional weights of each value in each domain, or `none`.
        buckets: B, number of rows of the table into which the weights of `crosses` are hashed.
    """

    name: str
    crosses: Crosses
    buckets: Annotated[int, Between(1)]
