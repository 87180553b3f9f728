"""SAR-Net against its equation in NumPy, one row at a time."""

from __future__ import annotations

import numpy as np

from tests.models.parts import UNSEEN, parts_of, relu, softmax


def test_logits_equal_the_reference() -> None:
    parts = parts_of("sarnet", "model.domain_experts=2")
    weights, found = parts.weights, []
    for k, domain in enumerate(parts.domains):
        place = min(domain, UNSEEN)
        x = parts.x[k] * weights["transform_scale.weight"][place] + weights["transform_shift.weight"][place]
        h = relu(parts.linear("blocks.0.linear", x))
        experts = [relu(parts.linear(f"experts.{i}.linear", h)) for i in range(2)]
        own = weights["own_weight.weight"][place] @ h + weights["own_bias.weight"][place]
        experts += [relu(own[:8]), relu(own[8:])]
        scores = parts.linear("gate", x) + weights["own_gate.weight"][place] @ x
        if place == UNSEEN:  # no expert of its own
            experts, scores = experts[:2], scores[:2]
        r = sum(share * expert for share, expert in zip(softmax(scores), experts, strict=True))
        found.append(parts.linear("head", r)[0])
    parts.agrees_with(np.array(found))


def test_domains_have_experts_of_their_own() -> None:
    """Public defect: towers shared by mistake."""
    parts = parts_of("sarnet")
    table = parts.model.own_weight.weight
    assert len({table[domain].data_ptr() for domain in range(6)}) == 6
    before = parts.model(parts.rows).logits.detach().clone()
    table.data[2] += 1.0
    changed = (parts.model(parts.rows).logits != before).numpy()
    assert changed.any()
    assert not changed[parts.rows.domain_ids.numpy() != 2].any()
