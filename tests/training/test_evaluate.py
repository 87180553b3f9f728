"""The sparsity that decides which weights are kept is the one that the regulariser holds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from adasparse_cli.training.evaluate import Scores, held_sparsity
from tests import small


@pytest.mark.parametrize("per", ["row", "domain"])
def test_domains_count_once_where_the_regulariser_counts_them_once(per: str) -> None:
    model = small.model("adasparse", 0, f"model.regulariser.per={per}")
    rows = replace(small.rows(6), condition_ids=torch.tensor([0, 0, 0, 0, 3, 3]))
    pruned = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.4], [0.0, 0.5], [0.2, 0.5]], dtype=np.float32)
    found = held_sparsity(model, Scores(np.zeros(6, dtype=np.float32), pruned), rows)
    assert found == pytest.approx([4.2 / 6, 1.4 / 6] if per == "row" else [(1.0 + 0.1) / 2, (0.1 + 0.5) / 2], abs=1e-6)
