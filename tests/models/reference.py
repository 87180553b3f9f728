"""AdaSparse and the plain network once more, in NumPy and loops, from the paper's equations alone."""

from __future__ import annotations

from typing import Any

import numpy as np


def sigmoid(x: Any) -> Any:
    return 1.0 / (1.0 + np.exp(-x))


def factors(v: np.ndarray, mode: str, *, scale: float, sharpness: float, threshold: float) -> np.ndarray:
    """π, one number at a time."""
    result = np.empty_like(v)
    for place, value in np.ndenumerate(v):
        if mode == "scaling":
            result[place] = scale * sigmoid(value)
        elif mode == "binarization":
            result[place] = 1.0 if sigmoid(sharpness * value) > threshold else 0.0
        else:
            out = scale * sigmoid(sharpness * value)
            result[place] = out if out > threshold else 0.0
    return result


def embed(weights: dict[str, np.ndarray], fields: Any, bags: Any, ids: np.ndarray, which: list[int]) -> np.ndarray:
    """Look up the chosen fields of each row, bags by their mean, row by row."""
    table = weights["embedding.weight"]
    offsets = np.concatenate([[0], np.cumsum([field.size for field in fields])])
    rows = []
    for row in ids:
        parts = []
        for column, k in enumerate(which):
            field = fields[k]
            if field.kind.value == "multi_valued":
                own = bags[field.name]
                starts, values = own.starts.tolist(), own.values.tolist()
                bag = values[starts[row[column]] : starts[row[column] + 1]]
                parts.append(np.mean([table[offsets[k] + v] for v in bag], axis=0) if bag else np.zeros(table.shape[1]))
            else:
                parts.append(table[offsets[k] + row[column]])
        rows.append(np.concatenate(parts) if parts else np.zeros(0))
    return np.array(rows)


def adasparse(
    weights: dict[str, np.ndarray],
    fields: Any,
    bags: Any,
    field_ids: np.ndarray,
    told: np.ndarray,
    mode: str,
    *,
    layers: int,
    scale: float,
    sharpness: float,
    threshold: float,
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Logits, and π of each gated layer; `told` are the ids of the one domain-aware field that the pruners see, row by row."""
    aware = [k for k, field in enumerate(fields) if field.role.value == "domain_aware"]
    agnostic = [k for k in range(len(fields)) if k not in aware]
    h = embed(weights, fields, bags, field_ids[:, agnostic], agnostic)
    own = embed(weights, fields, bags, field_ids[:, aware], aware)
    seen = weights["context.table.weight"][told[:, 0]]
    found = []
    for layer in range(layers + 1):
        pruner = np.concatenate(
            [weights[f"pruners.{layer}.hidden.weight"], weights[f"pruners.{layer}.domain.weight"]], axis=1
        )
        v = np.concatenate([h, seen], axis=1) @ pruner.T + weights[f"pruners.{layer}.bias"]
        found.append(factors(v, mode, scale=scale, sharpness=sharpness, threshold=threshold))
        h = h * found[-1]
        if layer == 0:
            h = np.concatenate([h, own], axis=1)
        if layer < layers:
            h = h @ weights[f"blocks.{layer}.linear.weight"].T + weights[f"blocks.{layer}.linear.bias"]
            h = np.maximum(h, 0.0)
    return (h @ weights["head.weight"].T + weights["head.bias"])[:, 0], found


def dnn(weights: dict[str, np.ndarray], fields: Any, bags: Any, field_ids: np.ndarray, *, layers: int) -> np.ndarray:
    """Logits of the plain network."""
    h = embed(weights, fields, bags, field_ids, list(range(len(fields))))
    for layer in range(layers):
        h = np.maximum(h @ weights[f"blocks.{layer}.linear.weight"].T + weights[f"blocks.{layer}.linear.bias"], 0.0)
    return np.asarray((h @ weights["head.weight"].T + weights["head.bias"])[:, 0])


def penalty(pi: list[np.ndarray], *, interval: tuple[float, float], weight: float) -> float:
    """R_s of the share of zeros."""
    low, high = interval
    total = 0.0
    for layer in pi:
        r = float((layer == 0).mean())
        distance = abs(r - (low + high) / 2)
        total += 0.0 if low <= r <= high else weight * distance * distance
    return total / len(pi)
