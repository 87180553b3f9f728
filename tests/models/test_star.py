"""STAR against its equation in NumPy, one row at a time, and against the defects of public versions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from adasparse_cli.models.base import CONTEXT, EMBEDDING
from tests import small
from tests.models.parts import UNSEEN, Parts, parts_of, relu


def normalised(parts: Parts, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    rows = []
    for k, domain in enumerate(parts.domains):
        place = min(domain, UNSEEN)
        scale = parts.weights["norm.scale"] * parts.weights["norm.domain_scale.weight"][place]
        shift = parts.weights["norm.shift"] + parts.weights["norm.domain_shift.weight"][place]
        rows.append(scale * (parts.x[k] - mean[k]) / np.sqrt(variance[k] + 1e-5) + shift)
    return np.array(rows)


def logits(parts: Parts, x: np.ndarray) -> np.ndarray:
    found = []
    for k, domain in enumerate(parts.domains):
        place, h = min(domain, UNSEEN), x[k]
        for layer in range(3):
            name = f"layers.{layer}"
            matrix = parts.weights[f"{name}.shared.weight"] * parts.weights[f"{name}.domain_weight.weight"][place]
            bias = parts.weights[f"{name}.shared.bias"] + parts.weights[f"{name}.domain_bias.weight"][place]
            h = matrix @ h + bias
            h = relu(h) if layer < 2 else h  # no activation on the logit: a ReLU there is a public defect
        found.append(h[0])
    return np.array(found) + parts.mlp("auxiliary", parts.told)[:, 0]


def test_logits_equal_the_reference_without_normalisation() -> None:
    parts = parts_of("star", "model.partitioned_norm.enabled=false")
    with torch.no_grad():
        parts.model.layers[2].shared.bias.sub_(1.3)
    parts.weights["layers.2.shared.bias"] -= 1.3
    expected = logits(parts, parts.x)
    parts.agrees_with(expected)
    assert (expected < 0).any()


def test_in_training_a_domain_with_rows_enough_is_normalised_by_its_own_rows_of_the_batch() -> None:
    """Public defect: statistics over the mixed batch. Others go by the statistics of all rows, as long as
    nothing is known of them."""
    parts = parts_of("star", "model.partitioned_norm.minimum_rows=4", training=True)
    mean, variance = np.empty_like(parts.x), np.empty_like(parts.x)
    places = np.minimum(parts.domains, UNSEEN)
    sizes = set()
    for k, place in enumerate(places):
        own = parts.x[places == place]
        own = own if len(own) >= 4 else parts.x
        sizes.add(len(own))
        mean[k], variance[k] = own.mean(axis=0), own.var(axis=0)
    assert len(parts.x) in sizes
    assert len(sizes) > 2
    parts.agrees_with(logits(parts, normalised(parts, mean, variance)))


def test_in_evaluation_moving_statistics_are_averages_over_all_rows_seen() -> None:
    parts = parts_of("star", "model.partitioned_norm.minimum_rows=4", training=True, count=300)
    for rows in torch.arange(4, 300).split(50):  # the first four are of domains that training does not see
        parts.model(small.part(parts.rows, rows))
    parts.model.eval()
    mean, variance = np.empty_like(parts.x), np.empty_like(parts.x)
    for k, domain in enumerate(parts.domains):
        own = parts.x[np.array(parts.domains) == domain] if domain < UNSEEN else parts.x[4:]
        mean[k], variance[k] = own.mean(axis=0), own.var(axis=0)
    parts.agrees_with(logits(parts, normalised(parts, mean, variance)))


def test_a_domain_begins_as_the_shared_network() -> None:
    for layer in small.model("star").layers:
        assert (layer.domain_weight.weight == 1).all()
        assert (layer.domain_bias.weight == 0).all()


def test_private_weights_of_domains_absent_from_a_batch_have_no_gradient() -> None:
    parts = parts_of("star")
    present = torch.unique(parts.rows.domain_ids[parts.rows.domain_ids < 3])
    rows = small.part(parts.rows, torch.isin(parts.rows.domain_ids, present).nonzero().flatten())
    parts.model(rows).logits.sum().backward()
    for name, table in parts.model.row_tables().items():
        if name not in (EMBEDDING, CONTEXT):
            assert torch.equal(torch.unique(table.grad.coalesce().indices()[0]), present), name


@pytest.mark.parametrize("minimum", [2, 1000])
def test_normalisation_of_single_rows_and_tiny_batches_is_finite(minimum: int) -> None:
    parts = parts_of("star", f"model.partitioned_norm.minimum_rows={minimum}", training=True, count=5, unseen=0)
    assert torch.isfinite(parts.model(parts.rows).logits).all()
