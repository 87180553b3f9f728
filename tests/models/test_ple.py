"""PLE against its equation in NumPy, one row at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests import small
from tests.models.parts import UNSEEN, Parts, parts_of, relu, softmax
from tests.models.test_mmoe import own_linear, own_tower


def reference(parts: Parts, *, shared: int, own: int, levels: int) -> np.ndarray:
    found = []
    for x, domain in zip(parts.x, parts.domains, strict=True):
        place, s, t = min(domain, UNSEEN), x, x
        for k in range(levels):
            experts = [relu(parts.linear(f"levels.{k}.shared.{i}.linear", s)) for i in range(shared)]
            experts += [relu(own_linear(parts, f"levels.{k}.own.{j}.linear", t, place)) for j in range(own)]
            of_domain = softmax(own_linear(parts, f"levels.{k}.domain_gate", t, place))
            if k < levels - 1:
                of_shared = softmax(parts.linear(f"levels.{k}.gate", s))
                s = sum(a * expert for a, expert in zip(of_shared, experts, strict=True))
            t = sum(a * expert for a, expert in zip(of_domain, experts, strict=True))
        found.append(own_tower(parts, t, place, 1))
    return np.array(found)


@pytest.mark.parametrize("full_domains", [6, 5])
@pytest.mark.parametrize(("shared", "own"), [(2, 1), (1, 2)])
def test_logits_equal_the_reference(shared: int, own: int, full_domains: int) -> None:
    """With 6 domains: experts of full and of low rank."""
    words = (f"model.shared_experts={shared}", f"model.domain_experts={own}", f"model.full_domains={full_domains}")
    parts = parts_of("ple", *words, "model.rank=2")
    assert ("levels.0.own.0.linear.first.weight" in parts.weights) == (full_domains == 5)
    parts.agrees_with(reference(parts, shared=shared, own=own, levels=1))


def test_the_shared_path_runs_below_the_last_level_alone() -> None:
    """Two levels and a tower, of three hidden layers."""
    model = small.model("ple", 0, hidden=(12, 10, 8)).double().eval()
    draw = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=draw, dtype=torch.float64) * 0.3)
    parts = parts_of("ple")
    weights = {key: value.detach().numpy() for key, value in model.state_dict().items()}
    assert "levels.0.gate.weight" in weights
    assert "levels.1.gate.weight" not in weights
    seen = model.embed(parts.rows)
    deep = Parts(
        model=model,
        rows=parts.rows,
        weights=weights,
        agnostic=seen.parts()[0].detach().numpy(),
        own=seen.parts()[1].detach().numpy(),
        told=parts.told,
    )
    deep.agrees_with(reference(deep, shared=2, own=1, levels=2))


def test_with_one_hidden_layer_there_is_one_level_and_the_towers_are_heads() -> None:
    model = small.model("ple", hidden=(8,))
    assert len(model.levels) == 1
    assert len(model.tower.blocks) == 0
    assert model(small.rows(20).batch(slice(0, 20))).logits.shape == (20,)


def test_low_rank_bounds_what_a_domain_adds() -> None:
    """A level's part of a domain's expert has rank (inputs + outputs) numbers instead of inputs × outputs, beside the bias."""
    full, low = (small.model("ple", 0, f"model.full_domains={n}", "model.rank=2") for n in (6, 5))
    saved = full.cost().domain_parameters - low.cost().domain_parameters
    assert saved == 7 * (16 * 12 - 2 * (16 + 12))  # 6 domains and the unseen


@pytest.mark.parametrize("full_domains", [6, 5])
def test_domains_have_experts_of_their_own(full_domains: int) -> None:
    parts = parts_of("ple", f"model.full_domains={full_domains}")
    before = parts.model(parts.rows).logits.detach().clone()
    with torch.no_grad():
        parts.model.levels[0].own[0].linear.weight.weight[2] += 1.0
    changed = (parts.model(parts.rows).logits != before).numpy()
    mine = parts.rows.domain_ids.numpy() == 2
    assert changed[mine].any()
    assert not changed[~mine].any()
