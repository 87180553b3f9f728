"""The values that `model=lightgbm` can be given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from adasparse_cli.choices import Between


@dataclass(frozen=True, kw_only=True)
class LightgbmSettings:
    """Settings of the trees. Of `loop`, only `select` and `evaluation_batch_size` are used; of `network`, nothing.

    Args:
        rounds: most trees.
        learning_rate: factor on the leaf values of each tree.
        leaves: most leaves of a tree.
        min_rows: fewest training rows of a leaf.
        feature_share: share (0–1) of the numbers of a row that a tree may use, drawn for each tree by the seed. With 1, seeds differ in nothing.
        l2: L2 penalty on leaf values.
        bins: most bins of a number.
        largest_categorical: a field with at most this many ids is a category, a larger one a rank by count.
        evaluate_every: rounds between two evaluations on the valid split.
        patience: evaluations without improvement after which training stops.
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
