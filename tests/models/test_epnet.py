"""EPNet against its equation in NumPy, and where its gradients go."""

from __future__ import annotations

import numpy as np
import torch

from tests.models import reference
from tests.models.parts import Parts, parts_of, relu


def gate(parts: Parts, name: str, told: np.ndarray, seen: np.ndarray) -> np.ndarray:
    first = np.concatenate(
        [parts.weights[f"{name}.of_condition.weight"], parts.weights[f"{name}.of_row.weight"]], axis=1
    )
    inner = relu(np.concatenate([told, seen], axis=1) @ first.T + parts.weights[f"{name}.of_row.bias"])
    return np.asarray(2 * reference.sigmoid(parts.linear(f"{name}.out", inner)))


def test_logits_equal_the_reference() -> None:
    parts = parts_of("epnet")
    x = parts.x * gate(parts, "gate", parts.told, parts.agnostic)
    parts.agrees_with(parts.linear("head", parts.tower(x, 2))[:, 0])


def test_the_gate_passes_no_gradient_to_what_it_only_looks_at_and_the_tower_trains_every_embedding() -> None:
    """Public defect: all of the tower's input detached. The gate alone moves the context, and nothing that the tower reads."""
    parts = parts_of("epnet")
    looked_up = torch.unique(parts.rows.field_ids[:, 0])
    parts.model(parts.rows).logits.sum().backward()
    assert (parts.model.embedding.weight.grad.to_dense()[looked_up] != 0).any(dim=1).all()

    parts.model.embedding.weight.grad = None
    embedded = parts.model.embed(parts.rows)
    parts.model.gate(parts.model.context_of(parts.rows), embedded.agnostic.detach()).sum().backward()
    assert parts.model.embedding.weight.grad is None
    told = torch.unique(parts.rows.conditions[parts.rows.condition_ids])
    assert (parts.model.context.table.weight.grad[told] != 0).any(dim=1).all()
