"""The logistic regression against its equation in NumPy and against weights set by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from adasparse_cli.choices import Pooling
from adasparse_cli.training.standard import StandardLoop
from tests import small
from tests.layers.test_hashed_crosses import place_of
from tests.models.parts import UNSEEN, Parts, parts_of

BAGS = [[], [1, 2], [3], [4, 8], [5]]  # small.BAGS
FIRST = {"item": 0, "shop": 40, "tags": 55}  # the first row of each field in the table


def crosses(parts: Parts, buckets: int, pool: str = "mean") -> np.ndarray:
    table, found = parts.weights["crosses.weight"][:, 0], []
    for (item, shop, tags, _), domain in zip(parts.rows.field_ids.tolist(), parts.domains, strict=True):
        if domain >= UNSEEN:
            found.append(0.0)
            continue

        def u(value: int, domain: int = domain) -> float:
            return float(table[place_of(value, domain, domains=6, buckets=buckets)])

        bag = [u(FIRST["tags"] + value) for value in BAGS[tags]]
        pooled = sum(bag) / (len(bag) or 1) if pool == "mean" else sum(bag)
        found.append(u(FIRST["item"] + item) + u(FIRST["shop"] + shop) + pooled)
    return np.array(found)


@pytest.mark.parametrize("buckets", [13, 4096])
def test_logits_equal_the_reference(buckets: int) -> None:
    """Few rows, so that pairs share weights; and many."""
    parts = parts_of("lr", f"model.buckets={buckets}")
    assert parts.x.shape == (30, 4)  # a number per field
    parts.agrees_with(parts.x.sum(axis=1) + crosses(parts, buckets) + parts.weights["bias"])


def test_bags_are_summed_where_the_network_sums_them() -> None:
    parts = parts_of("lr", "model.buckets=64")
    other = small.model("lr", 0, "model.buckets=64", pooling=Pooling.sum)
    other = other.double()
    other.load_state_dict(parts.model.state_dict())
    difference = (other(parts.rows).logits - parts.model(parts.rows).logits).detach().numpy()
    weights = parts.weights["embedding.weight"][:, 0]
    bags = [[weights[FIRST["tags"] + value] for value in BAGS[int(tags)]] for tags in parts.rows.field_ids[:, 2]]
    first_order = np.array([sum(bag) - sum(bag) / (len(bag) or 1) for bag in bags])
    crossed = crosses(parts, 64, "sum") - crosses(parts, 64)
    np.testing.assert_allclose(difference, first_order + crossed, atol=1e-12)


def test_without_crosses_it_is_a_sum_of_weights() -> None:
    parts = parts_of("lr", "model.crosses=none")
    assert set(parts.weights) == {"embedding.weight", "bias"}
    parts.agrees_with(parts.x.sum(axis=1) + parts.weights["bias"])


def test_a_case_worked_out_by_hand() -> None:
    """Item 3 in shop 2 with tags {1, 2} at place 1 of domain 0; every weight that the row does not use is 9."""
    model = small.model("lr", 0, "model.buckets=100000")
    row = replace(
        small.rows(1).batch(slice(0, 1)), field_ids=torch.tensor([[3, 2, 1, 1]]), domain_ids=torch.tensor([0])
    )
    with torch.no_grad():
        model.embedding.weight.fill_(9.0)
        model.crosses.weight.fill_(9.0)
        # item, shop, two tags, place: 0.5 + 0.25 + (1 + 2) / 2 − 2 = 0.25
        for place, value in {3: 0.5, 42: 0.25, 56: 1.0, 57: 2.0, 64 + 1: -2.0}.items():
            model.embedding.weight[place] = value
        # the same in domain 0: −1 + 0.5 + (3 − 1) / 2 = 0.5
        for value, weight in {3: -1.0, 42: 0.5, 56: 3.0, 57: -1.0}.items():
            model.crosses.weight[place_of(value, 0, domains=6, buckets=100_000)] = weight
        model.bias.fill_(0.125)
    assert model(row).logits.tolist() == [0.25 + 0.5 + 0.125]


def test_it_starts_at_the_base_rate_for_every_row() -> None:
    model = small.model("lr")
    model.start_at(0.25)
    assert torch.allclose(model(small.rows(50).batch(slice(0, 50))).logits, torch.tensor(np.log(1 / 3)).float())


def test_crosses_tell_what_a_sum_of_weights_cannot(tmp_path: Path) -> None:
    """The label is the exclusive or of item and domain: without crosses no better than chance, with them nearly perfect."""
    few = small.rows(4000, 1)
    labels = ((few.field_ids[:, 0] + few.domain_ids) % 2).float()
    few = replace(few, labels=labels)
    found = {}
    for name in ("none", "domain"):
        model = small.model("lr", 0, f"model.crosses={name}", "model.buckets=4096")
        loop = small.loop_settings(epochs=3, learning_rate=0.05, evaluations=1)
        (tmp_path / name).mkdir()
        result = StandardLoop(model, few, few, 6, loop, 0, tmp_path / name).run()
        found[name] = result.best_value
    assert found["none"] < 0.65
    assert found["domain"] > 0.95
