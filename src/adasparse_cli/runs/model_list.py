"""The models and loops that can be trained, and what each weighs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from adasparse_cli.choices import FieldKind, FieldRole
from adasparse_cli.config.compose import compose
from adasparse_cli.models import MODELS
from adasparse_cli.models.base import DataShape, NetworkSettings
from adasparse_cli.runs.data_list import data_set
from adasparse_cli.schema import Field
from adasparse_cli.training.dataset import load_shape
from adasparse_cli.training.loops import LOOPS
from adasparse_cli.training.settings import LoopSettings
from adasparse_cli.typed import typed

# What `models ls` weighs models on where no data set is named: as in benchmarks/.
EXAMPLE = DataShape(
    fields=tuple(
        Field(
            name=f"field_{k}",
            role=FieldRole.domain_agnostic if k < 18 else FieldRole.domain_aware,
            kind=FieldKind.categorical,
            size=100_000 if k < 18 else 20,
        )
        for k in range(21)
    ),
    bags={},
    num_domains=300,
)


def list_models(shape: DataShape | None = None) -> list[dict[str, Any]]:
    """Every model and loop: what it is, its own settings, and what it weighs with its packaged settings.

    Args:
        shape: of the data to weigh models on; without it, those of `EXAMPLE`.
    """
    rows = []
    for name, model in sorted(MODELS.items()):
        tree = compose("train", [f"model={name}"])
        settings = typed(tree["model"], model.Settings, "model")
        network = typed(tree["network"], NetworkSettings, "network")
        with torch.device("meta"):
            built: Any = model
            cost = built(settings, network, shape or EXAMPLE).cost()
        own = [field for field in model.Settings.__dataclass_fields__ if field != "name"]
        rows.append(
            {
                "model": name,
                "what": (model.__doc__ or "").splitlines()[0],
                "settings": ", ".join(own) or "–",
                "backbone parameters": cost.backbone_parameters,
                "domain parameters": cost.domain_parameters,
                "multiply-adds per row": cost.backbone_multiply_adds + cost.domain_multiply_adds,
            }
        )
    plain = next(row for row in rows if row["model"] == "dnn")
    for name, loop in sorted(LOOPS.items()):
        if name != "standard":
            own = [
                field
                for field in loop.Settings.__dataclass_fields__
                if field not in vars(LoopSettings)["__dataclass_fields__"]
            ]
            what = f"{(loop.__doc__ or '').splitlines()[0]} (a loop; `loop={name}` trains other models with it)"
            rows.append({**plain, "model": name, "what": what, "settings": ", ".join(own)})
    return rows


def shape_of(root: Path, name: str) -> DataShape:
    """What models must know of a prepared data set."""
    return load_shape(root / name, data_set(root, name))
