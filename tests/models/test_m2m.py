"""M2M against its equation in NumPy, one row at a time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from tests.models.parts import Parts, leaky, parts_of, relu, softmax


def meta(parts: Parts, name: str, s: np.ndarray, x: np.ndarray) -> np.ndarray:
    bias = parts.linear(f"{name}.bias", s)
    return leaky(parts.linear(f"{name}.weight", s).reshape(len(bias), len(x)) @ x + bias)


def attention(parts: Parts, s: np.ndarray, expert: np.ndarray) -> np.ndarray:
    """Over expert and task side by side, with W whole: the model keeps the columns of the two apart."""
    bias = parts.linear("attention.bias", s)
    of_expert = parts.linear("attention.weight", s).reshape(len(bias), -1)
    of_task = parts.linear("attention.constant_weight", s).reshape(len(bias), -1)
    both = np.concatenate([expert, parts.weights["task"]])
    return leaky(np.concatenate([of_expert, of_task], axis=1) @ both + bias)


def test_logits_equal_the_reference() -> None:
    parts = parts_of("m2m", "model.tower_layers=2")
    lower = parts.tower(parts.x, 1)
    found = []
    for k in range(len(parts.x)):
        s = relu(parts.linear("scenario", parts.told[k]))
        experts = [relu(parts.linear(f"experts.{i}.linear", lower[k])) for i in range(3)]
        asked = [attention(parts, s, e) for e in experts]
        shares = softmax(np.array([parts.linear("attention_head", a)[0] for a in asked]))
        r = sum(share * expert for share, expert in zip(shares, experts, strict=True))
        for layer in range(2):
            r = leaky(meta(parts, f"tower.{layer}", s, r) + r)
        found.append(parts.linear("head", r)[0])
    parts.agrees_with(np.array(found))


def test_attention_does_not_run_across_the_rows_of_a_batch() -> None:
    """Public defect: a softmax over the batch. In training too, a row's logit must not depend on the others."""
    parts = parts_of("m2m", training=True)
    rows = parts.rows
    changed = replace(rows, field_ids=rows.field_ids.clone())
    changed.field_ids[1:, 0] = (changed.field_ids[1:, 0] + 7) % 40
    before, after = parts.model(rows).logits, parts.model(changed).logits
    torch.testing.assert_close(before[0], after[0], rtol=1e-12, atol=1e-12)
    assert not torch.allclose(before[1:], after[1:])
