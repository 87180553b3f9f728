"""Runs of earlier versions: their settings in today's form, and whether today's code would train the same weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adasparse_cli.prepared.earlier_data import settings_as_today as data_as_today

# Values that were fixed before they became settings.
_LOOP = {
    "matmul_precision": "highest", "max_epochs": 10, "context_learning_rate": None, "row_steps": "all", "rows": "auto",
    "window_rows": 1 << 20,
}  # fmt: skip
_MODEL: dict[str, dict[str, Any]] = {"threshold": {"window": None}, "regulariser": {"per": "row"}}


def settings_as_today(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A run's saved settings, with the settings added that did not exist when it was saved."""
    today = dict(settings)
    loop, data, network, model = (today.get(section) for section in ("loop", "data", "network", "model"))
    if isinstance(loop, dict):
        today["loop"] = {**_LOOP, **loop}
    if isinstance(data, dict):
        today["data"] = data_as_today(data)
    if isinstance(network, dict) and {"embedding_width", "embedding_std"} <= network.keys():
        # the context was a look-up in the tower's embedding table; `models.earlier` copies its rows
        width, std = network["embedding_width"], network["embedding_std"]
        context = {"width": width, "std": std, "gain": None, "normalisation": "none"}
        today["network"] = {"context": context, **network}
    if isinstance(model, dict):
        sections = {
            name: {**fixed, **model[name]} for name, fixed in _MODEL.items() if isinstance(model.get(name), dict)
        }
        today["model"] = {**model, **sections}
    return today


def trained_otherwise(settings: Mapping[str, Any]) -> bool:
    """Whether today's code would train other weights with saved settings, because the domain context had no embeddings."""
    network, model = settings.get("network"), settings.get("model")
    if not isinstance(network, dict) or not isinstance(model, dict) or "context" in network:
        return False
    from adasparse_cli.models import MODELS  # loads torch, which listings do not need

    kind = MODELS.get(str(model.get("name")))
    return kind is not None and kind.reads_context
