"""Runs of earlier versions: what their saved settings mean today, and which of them today's code would train otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adasparse_cli.prep.earlier_data import settings_as_today as data_as_today

# What was always so before it became a setting.
_LOOP = {
    "matmul_precision": "highest", "max_epochs": 10, "context_learning_rate": None, "row_steps": "all", "rows": "auto",
    "window_rows": 1 << 20,
}  # fmt: skip
_MODEL: dict[str, dict[str, Any]] = {"threshold": {"window": None}, "regulariser": {"per": "row"}}


def settings_as_today(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A run's saved settings, with those that there were not when they were saved."""
    found = dict(settings)
    loop, data, network, model = (found.get(section) for section in ("loop", "data", "network", "model"))
    if isinstance(loop, dict):
        found["loop"] = {**_LOOP, **loop}
    if isinstance(data, dict):
        found["data"] = data_as_today(data)
    if isinstance(network, dict) and {"embedding_width", "embedding_std"} <= network.keys():
        # the context was a look-up in the tower's own table; `models.earlier` copies its rows
        width, std = network["embedding_width"], network["embedding_std"]
        context = {"width": width, "std": std, "gain": None, "normalisation": "none"}
        found["network"] = {"context": context, **network}
    if isinstance(model, dict):
        sections = {name: {**was, **model[name]} for name, was in _MODEL.items() if isinstance(model.get(name), dict)}
        found["model"] = {**model, **sections}
    return found


def trained_otherwise(settings: Mapping[str, Any]) -> bool:
    """Whether today's code trains saved settings to other weights: the domain context had no embeddings of its own."""
    network, model = settings.get("network"), settings.get("model")
    if not isinstance(network, dict) or not isinstance(model, dict) or "context" in network:
        return False
    from adasparse_cli.models import MODELS  # loads torch, which lists of runs do without

    kind = MODELS.get(str(model.get("name")))
    return kind is not None and kind.reads_context
