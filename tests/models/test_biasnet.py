"""The bias network against its equation in NumPy."""

from __future__ import annotations

from tests.models.parts import parts_of


def test_logits_equal_the_reference() -> None:
    parts = parts_of("biasnet")
    expected = parts.linear("head", parts.tower(parts.x, 2)) + parts.mlp("bias", parts.told)
    parts.agrees_with(expected[:, 0])
