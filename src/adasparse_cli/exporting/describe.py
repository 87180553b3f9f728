"""The form of a trained model, for engines other than torch."""

from __future__ import annotations

import dataclasses
from typing import Any

from torch import Tensor

from adasparse_cli.choices import ContextNormalisation, Mode
from adasparse_cli.models.adasparse import AdaSparse
from adasparse_cli.models.base import Model
from adasparse_cli.models.dcnv2 import Dcnv2
from adasparse_cli.models.dnn import Dnn
from adasparse_cli.numpy_engine.network import Gate, Shape


def shape_of(model: Model) -> Shape | None:
    """The form of a model that `numpy_engine.network` can compute; None for other models."""
    # only exactly these classes: a derived class can compute something else
    if type(model) not in (Dnn, Dcnv2, AdaSparse):
        return None
    assert isinstance(model, (Dnn, Dcnv2, AdaSparse))
    network = model.network
    cross = None if isinstance(model, Dnn) else model.cross
    values: dict[str, Any] = {
        "embedding_width": network.embedding_width,
        "pooling": network.pooling,
        "activation": network.activation,
        "normalisation": network.normalisation,
        "hidden": len(network.hidden),
        "cross": 0 if cross is None else len(cross.maps),
        "low_rank": cross is not None and any("0.weight" in name for name, _ in cross.maps[0].named_parameters()),
        "mode": None,
        "scale": 1.0,
        "gates": (),
        "pruner_inputs": (),
        "pruner_low_rank": False,
        "context_normalised": network.context.normalisation is ContextNormalisation.layer,
        "context_gain": 1.0,
    }
    if isinstance(model, AdaSparse):
        gain = model.context.gain
        values |= {
            "mode": model.mode,
            "scale": model.settings.scale,
            "gates": _gates(model),
            "pruner_inputs": model.settings.pruner.inputs,
            "pruner_low_rank": model.settings.pruner.rank is not None,
            "context_gain": 1.0 if gain is None else _number(gain),
        }
    return Shape(**values)


def shape_to_json(shape: Shape) -> dict[str, Any]:
    """Plain values; `network.shape_from` is the inverse."""
    return dataclasses.asdict(shape)


def _gates(model: AdaSparse) -> tuple[Gate, ...]:
    found = []
    for place, layer in enumerate(model.pruners):
        sharpness, threshold = model.sharpness_and_threshold(place)
        if model.mode is Mode.scaling:
            threshold = 0.0
        found.append(Gate(layer=int(layer), sharpness=_number(sharpness), threshold=_number(threshold)))
    return tuple(found)


def _number(value: float | Tensor) -> float:
    return float(value.detach()) if isinstance(value, Tensor) else value
