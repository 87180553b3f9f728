"""DeepFM against its equation in NumPy, with its pairs one by one."""

from __future__ import annotations

import itertools

import numpy as np

from tests.models.parts import parts_of

FIELDS, WIDTH = 4, 4


def test_logits_equal_the_reference() -> None:
    parts = parts_of("deepfm")
    found = []
    for row in parts.x.reshape(-1, FIELDS, WIDTH + 1):
        vectors, weights = row[:, :WIDTH], row[:, WIDTH]
        pairs = sum(float(one @ other) for one, other in itertools.combinations(vectors, 2))
        deep = parts.linear("head", parts.tower(vectors.flatten(), 2))[0]
        found.append(weights.sum() + pairs + deep)
    parts.agrees_with(np.array(found))


def test_without_its_first_order_and_pairs_it_is_the_dnn() -> None:
    """Its tower has the widths of the DNN's, and reads neither the weights of single values nor the products."""
    parts, plain = parts_of("deepfm"), parts_of("dnn")
    assert parts.weights["blocks.0.linear.weight"].shape == plain.weights["blocks.0.linear.weight"].shape
    ours, theirs = parts.model.cost(), plain.model.cost()
    assert ours.backbone_multiply_adds == theirs.backbone_multiply_adds
    assert ours.domain_parameters == 0
    assert ours.embedding_parameters == theirs.embedding_parameters * (WIDTH + 1) / WIDTH
