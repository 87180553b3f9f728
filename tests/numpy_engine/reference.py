"""DNN, DCNv2 and AdaSparse once more, row by row in float64 from the equations, for every form that has sub-networks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tests.models.reference import factors


def activated(name: str, x: np.ndarray) -> np.ndarray:
    forms = {
        "relu": lambda v: max(v, 0.0),
        "leaky_relu": lambda v: v if v > 0 else 0.01 * v,
        "gelu": lambda v: v * 0.5 * (1 + math.erf(v / math.sqrt(2))),
        "silu": lambda v: v / (1 + math.exp(-v)),
    }
    return np.array([forms[name](float(v)) for v in x])


def logits(model: Any, fields: Any, ids: np.ndarray, bags: dict[str, list[tuple[int, ...]]]) -> np.ndarray:
    """Logits of rows of ids; `bags` are the ids of each row's list by multi-valued field."""
    weights = {name: value.numpy().astype(np.float64) for name, value in model.state_dict().items()}
    return np.array(
        [_logit(model, weights, fields, row, {k: v[n] for k, v in bags.items()}) for n, row in enumerate(ids)]
    )


def _embedded(
    table: np.ndarray, fields: Any, row: np.ndarray, bags: dict[str, Any], which: list[int], first: int, pooling: str
) -> Any:
    starts, start = {}, first
    for place in which:
        starts[place] = start
        start += fields[place].size
    width = table.shape[1]
    parts = []
    for several in (False, True):
        for place in which:
            if (fields[place].name in bags) is not several:
                continue
            if several:
                own = [table[starts[place] + one] for one in bags[fields[place].name]]
                parts.append(sum(own) / (len(own) if pooling == "mean" else 1) if own else np.zeros(width))
            else:
                parts.append(table[starts[place] + row[place]])
    return np.concatenate(parts)


def _logit(model: Any, weights: dict[str, np.ndarray], fields: Any, row: np.ndarray, bags: dict[str, Any]) -> float:
    aware = [k for k, field in enumerate(fields) if field.role == "domain_aware"]
    agnostic = [k for k in range(len(fields)) if k not in aware]
    table = weights["embedding.weight"]
    pooling = str(model.network.pooling)
    before = sum(fields[k].size for k in agnostic)
    h = _embedded(table, fields, row, bags, agnostic, 0, pooling)
    own = _embedded(table, fields, row, bags, aware, before, pooling)
    settings, network = getattr(model, "settings", None), model.network
    context = None
    if "context.table.weight" in weights:
        context = _embedded(weights["context.table.weight"], fields, row, bags, aware, 0, pooling)
        if network.context.normalisation == "layer":
            context = (context - context.mean()) / math.sqrt(context.var() + 1e-5)
        context = context * weights.get("context.gain", 1.0)

    gates = iter(range(100))

    def gated(layer: int, h: np.ndarray) -> np.ndarray:
        name = f"pruners.{layer}"
        if f"{name}.bias" not in weights:
            return h
        gate = next(gates)
        inner: Any = 0.0
        if f"{name}.hidden.weight" in weights:
            inner = inner + weights[f"{name}.hidden.weight"] @ h
        if f"{name}.domain.weight" in weights:
            inner = inner + weights[f"{name}.domain.weight"] @ context
        v = (weights[f"{name}.up.weight"] @ inner if f"{name}.up.weight" in weights else inner) + weights[
            f"{name}.bias"
        ]
        alpha = math.exp(weights["log_sharpness"][gate]) if "log_sharpness" in weights else float(weights["sharpness"])
        threshold = weights["learnt_threshold"][gate] if "learnt_threshold" in weights else settings.threshold.value
        return h * factors(v, str(settings.mode), scale=settings.scale, sharpness=alpha, threshold=float(threshold))

    h = np.concatenate([gated(0, h), own])
    crossed = h
    layer = 0
    while any(name.startswith(f"cross.maps.{layer}.") for name in weights):
        step = crossed
        parts = ["0", "1"] if f"cross.maps.{layer}.0.weight" in weights else [""]
        for part in parts:
            name = f"cross.maps.{layer}.{part}".rstrip(".")
            step = weights[f"{name}.weight"] @ step + weights.get(f"{name}.bias", 0.0)
        crossed = h * step + crossed
        layer += 1
    has_cross = layer > 0
    for place in range(len(network.hidden)):
        name = f"blocks.{place}"
        h = weights[f"{name}.linear.weight"] @ h + weights[f"{name}.linear.bias"]
        if network.normalisation == "batch":
            mean, variance = weights[f"{name}.after.0.running_mean"], weights[f"{name}.after.0.running_var"]
            h = (h - mean) / np.sqrt(variance + 1e-5) * weights[f"{name}.after.0.weight"] + weights[
                f"{name}.after.0.bias"
            ]
        elif network.normalisation == "layer":
            h = (h - h.mean()) / math.sqrt(h.var() + 1e-5)
            h = h * weights[f"{name}.after.0.weight"] + weights[f"{name}.after.0.bias"]
        h = gated(place + 1, activated(str(network.activation), h))
    h = np.concatenate([crossed, h]) if has_cross else h
    return float(weights["head.weight"][0] @ h + weights["head.bias"][0])
