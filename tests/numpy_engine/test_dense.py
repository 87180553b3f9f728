"""Layers with folded biases have the logits of the equations."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from adasparse_cli.choices import Activation
from adasparse_cli.numpy_engine.dense import ACTIVATIONS, Affine, Dense


@pytest.mark.parametrize("activation", Activation)
@pytest.mark.parametrize("widths", [(20, 1), (20, 30, 1), (20, 30, 40, 10, 1), (20, 30, 0, 1)])
@pytest.mark.parametrize("rows", [0, 1, 2, 50])
def test_logits_are_those_of_the_equations(activation: Activation, widths: tuple[int, ...], rows: int) -> None:
    """Reference: float64, layer by layer, with biases larger than the products; no neuron may be left, too."""
    draw = np.random.default_rng(0)
    layers = [
        Affine(
            draw.normal(0, m**-0.5 if m else 1.0, (m, n)).astype(np.float32),
            draw.normal(0, 3.0, n).astype(np.float32),
        )
        for m, n in pairwise(widths)
    ]
    x = draw.normal(size=(rows, widths[0])).astype(np.float32)
    h = x.astype(np.float64)
    for layer in layers[:-1]:
        v = h @ layer.weight.astype(np.float64) + layer.bias
        h = np.maximum(v, 0.0) if activation is Activation.relu else ACTIVATIONS[activation](v)
    expected = (h @ layers[-1].weight.astype(np.float64) + layers[-1].bias)[:, 0]
    before = x.copy()
    found = Dense(layers, activation)(x)
    assert found.shape == (rows,)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=5e-6)
    np.testing.assert_array_equal(x, before)  # rows that were given are not changed
