"""Settings of `model=lightgbm`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from adasparse_cli.choices import Between


@dataclass(frozen=True, kw_only=True)
class LightgbmSettings:
    """Settings of the trees. They use `loop.select` and `loop.evaluation_batch_size`, and no other setting of `loop` or `network`.

    Args:
        rounds: maximum number of trees.
        learning_rate: factor on the leaf values of each tree.
        leaves: maximum number of leaves per tree.
        min_rows: minimum number of training rows per leaf.
        feature_share: share (0–1) of the numbers of a row that a tree may use; the seed draws them for each tree. With 1, all seeds
            give the same trees.
        l2: L2 penalty on leaf values.
        bins: maximum number of bins per number.
        largest_categorical: a field with at most this many ids is read as categories; a field with more ids is read as the
            rank of the value by count.
        evaluate_every: number of rounds between two evaluations on the valid split.
        patience: number of evaluations without improvement before training stops.
    """

    name: str
    rounds: Annotated[int, Between(1)]
    learning_rate: Annotated[float, Between(0, exclusive=True)]
    leaves: Annotated[int, Between(2, 131072)]
    min_rows: Annotated[int, Between(1)]
    feature_share: Annotated[float, Between(0.01, 1)]
    l2: Annotated[float, Between(0)]
    bins: Annotated[int, Between(2, 65535)]
    largest_categorical: Annotated[int, Between(0)]
    evaluate_every: Annotated[int, Between(1)]
    patience: Annotated[int, Between(1)]
