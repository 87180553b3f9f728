"""DCNv2 against its equation in NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from tests.models.parts import Parts, parts_of


def crossed(parts: Parts, layers: int, *, rank: bool) -> np.ndarray:
    x = parts.x
    for layer in range(layers):
        name = f"cross.maps.{layer}"
        product = parts.linear(f"{name}.1", parts.linear(f"{name}.0", x)) if rank else parts.linear(name, x)
        x = parts.x * product + x
    return x


@pytest.mark.parametrize("rank", [None, 2])
def test_logits_equal_the_reference(rank: int | None) -> None:
    parts = parts_of("dcnv2", f"model.cross.rank={'null' if rank is None else rank}")
    both = np.concatenate([crossed(parts, 3, rank=rank is not None), parts.tower(parts.x, 2)], axis=1)
    parts.agrees_with(parts.linear("head", both)[:, 0])
