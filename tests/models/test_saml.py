"""SAML against its equation in NumPy: every branch is mixed in a loop over all domains."""

from __future__ import annotations

import numpy as np
import pytest

from tests.models import reference
from tests.models.parts import UNSEEN, parts_of, relu


def test_logits_equal_the_reference() -> None:
    parts = parts_of("saml", "model.branch_width=5")
    weights = parts.weights
    described = np.log1p(np.exp(weights["similarity"]))
    shared = parts.tower(parts.x, 2)
    found = []
    for k, domain in enumerate(parts.domains):
        place = min(domain, UNSEEN)
        likeness = np.array([described[place] @ described[j] for j in range(6)])
        likeness /= likeness.sum()
        mixed = sum(likeness[j] * weights["branches"][j] for j in range(6))
        if place < UNSEEN:
            share = reference.sigmoid(weights["mixing"])
            mixed = (1 - share) * weights["branches"][place] + share * mixed
        x_d = parts.x[k] * weights["subspace_scale.weight"][place] + weights["subspace_shift.weight"][place]
        branch = relu(mixed @ np.concatenate([x_d, parts.told[k]]) + weights["branch_bias.weight"][place])
        found.append(parts.linear("head", np.concatenate([shared[k], branch]))[0])
    parts.agrees_with(np.array(found))


@pytest.mark.parametrize("width", [1, 3])
def test_mixing_what_branches_say_equals_mixing_their_matrices(width: int) -> None:
    """What makes one branch per row enough: Σ s_j (W_j x) = (Σ s_j W_j) x."""
    draw = np.random.default_rng(width)
    matrices, x, shares = draw.normal(size=(4, width, 3)), draw.normal(size=3), draw.random(4)
    mixed = np.einsum("j,joi->oi", shares, matrices)
    np.testing.assert_allclose(mixed @ x, sum(s * (m @ x) for s, m in zip(shares, matrices, strict=True)))
