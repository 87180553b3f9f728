"""MMoE against its equation in NumPy, one row at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from adasparse_cli.models.base import EMBEDDING
from tests import small
from tests.models.parts import UNSEEN, Parts, parts_of, relu, softmax


def own_linear(parts: Parts, name: str, x: np.ndarray, place: int) -> np.ndarray:
    """(W + V_d) x + b + c_d, where V_d may be a product of two thin matrices."""
    weights = parts.weights
    own = weights[f"{name}.weight.weight"][place]
    if f"{name}.first.weight" in weights:
        own = own @ weights[f"{name}.first.weight"][place]
    y = (weights[f"{name}.shared.weight"] + own) @ x
    if f"{name}.bias.weight" in weights:
        y = y + weights[f"{name}.shared.bias"] + weights[f"{name}.bias.weight"][place]
    return np.asarray(y)


def own_tower(parts: Parts, x: np.ndarray, place: int, layers: int) -> float:
    for layer in range(layers):
        x = relu(own_linear(parts, f"tower.blocks.{layer}.linear", x, place))
    return float(own_linear(parts, "tower.head", x, place)[0])


@pytest.mark.parametrize("experts", [1, 3])
def test_logits_equal_the_reference(experts: int) -> None:
    parts, found = parts_of("mmoe", f"model.experts={experts}"), []
    for x, domain in zip(parts.x, parts.domains, strict=True):
        place = min(domain, UNSEEN)
        shares = softmax(own_linear(parts, "gate", x, place))
        of_experts = [relu(parts.linear(f"experts.{i}.0.linear", x)) for i in range(experts)]
        r = sum(share * expert for share, expert in zip(shares, of_experts, strict=True))
        found.append(own_tower(parts, r, place, 1))
    parts.agrees_with(np.array(found))


def test_with_one_hidden_layer_the_experts_have_it_and_the_towers_are_heads() -> None:
    model = small.model("mmoe", hidden=(8,))
    assert len(model.tower.blocks) == 0
    assert {tuple(expert[0].linear.weight.shape) for expert in model.experts} == {(8, model.inputs)}
    assert model(small.rows(20).batch(slice(0, 20))).logits.shape == (20,)


@pytest.mark.parametrize("table", ["gate.weight", "tower.blocks.0.linear.weight", "tower.head.weight"])
def test_a_change_of_one_domains_part_changes_that_domain_alone(table: str) -> None:
    """Public defect: towers shared by mistake."""
    parts = parts_of("mmoe")
    before = parts.model(parts.rows).logits.detach().clone()
    with torch.no_grad():
        # of the gate one row alone: a softmax does not see what is added to all
        parts.model.get_submodule(table).weight[2, 0] += 1.0
    changed = (parts.model(parts.rows).logits != before).numpy()
    mine = parts.rows.domain_ids.numpy() == 2
    assert changed[mine].any()
    assert not changed[~mine].any()


def test_parts_of_domains_absent_from_a_batch_have_no_gradient() -> None:
    parts = parts_of("mmoe")
    present = torch.unique(parts.rows.domain_ids[parts.rows.domain_ids < 3])
    rows = small.part(parts.rows, torch.isin(parts.rows.domain_ids, present).nonzero().flatten())
    parts.model(rows).logits.sum().backward()
    for name, table in parts.model.row_tables().items():
        if name != EMBEDDING:
            assert torch.equal(torch.unique(table.grad.coalesce().indices()[0]), present), name
