"""Small made-up fields, rows and settings, for the tests of models, training and jobs."""

from __future__ import annotations

from typing import Any

import torch

from adasparse_cli.choices import (
    Activation,
    Backbone,
    ContextNormalisation,
    MatmulPrecision,
    Metric,
    Mode,
    Normalisation,
    PenaltyUnit,
    Pooling,
    PrunerInput,
    RowSource,
    RowSteps,
    SharpnessRule,
    ThresholdRule,
)
from adasparse_cli.config.compose import compose
from adasparse_cli.layers.settings import ContextSettings, CrossSettings
from adasparse_cli.models import MODELS
from adasparse_cli.models.base import Model, NetworkSettings
from adasparse_cli.models.settings.adasparse import (
    AdaSparseSettings,
    PrunerSettings,
    RegulariserSettings,
    SharpnessSettings,
    ThresholdSettings,
)
from adasparse_cli.testing.sample import BAGS, FIELDS, SHAPE, part, rows
from adasparse_cli.training.settings import LoopSettings
from adasparse_cli.typed import typed

__all__ = ["BAGS", "FIELDS", "SHAPE", "adasparse_settings", "loop_settings", "model", "network", "part", "rows"]


def network(**changes: Any) -> NetworkSettings:
    values: dict[str, Any] = {
        "embedding_width": 4,
        "embedding_std": 0.1,
        "pooling": Pooling.mean,
        "context": ContextSettings(width=4, std=0.1, gain=None, normalisation=ContextNormalisation.none),
        "hidden": (12, 8),
        "activation": Activation.relu,
        "normalisation": Normalisation.none,
        "dropout": 0.0,
    }
    return NetworkSettings(**{**values, **changes})


def adasparse_settings(mode: Mode = Mode.fusion, **changes: Any) -> AdaSparseSettings:
    values: dict[str, Any] = {
        "name": "adasparse",
        "mode": mode,
        "backbone": Backbone.mlp,
        "cross": CrossSettings(layers=2, rank=None),
        "scale": 2.0,
        "pruner": PrunerSettings(inputs=(PrunerInput.hidden, PrunerInput.domain), rank=None, input_layer=True),
        "sharpness": SharpnessSettings(rule=SharpnessRule.scheduled, start=0.1, end=5.0, initial=1.0),
        "threshold": ThresholdSettings(rule=ThresholdRule.fixed, value=0.25, window=None),
        "regulariser": RegulariserSettings(
            enabled=True, per=PenaltyUnit.row, interval=(0.15, 0.25), start=0.01, end=100.0
        ),
    }
    return AdaSparseSettings(**{**values, **changes})


def model(name: str = "adasparse", seed: int = 0, *words: str, **network_changes: Any) -> Model:
    """A model with its packaged settings, changed by words such as `model.rank=2`."""
    tree = compose("train", [f"model={name}", *words])
    torch.manual_seed(seed)
    settings = typed(tree["model"], MODELS[name].Settings, "model")
    built: Model = MODELS[name](settings, network(**network_changes), SHAPE)  # type: ignore[call-arg]
    return built


def loop_settings(**changes: Any) -> LoopSettings:
    values: dict[str, Any] = {
        "name": "standard",
        "batch_size": 32,
        "epochs": 2,
        "max_epochs": 4,
        "max_steps": None,
        "learning_rate": 0.01,
        "embedding_learning_rate": None,
        "domain_learning_rate": None,
        "context_learning_rate": None,
        "row_steps": RowSteps.all,
        "warmup_share": 0.0,
        "final_share": 1.0,
        "beta1": 0.9,
        "beta2": 0.999,
        "eps": 1e-8,
        "evaluations": 2,
        "select": Metric.auc,
        "patience": None,
        "log_steps": 5,
        "checkpoint_seconds": 1e9,
        "evaluation_batch_size": 64,
        "matmul_precision": MatmulPrecision.highest,
        "placebo": False,
        "rows": RowSource.memory,
        "window_rows": 2048,
    }
    return LoopSettings(**{**values, **changes})
