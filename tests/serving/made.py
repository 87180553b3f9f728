"""A small table, its prepared data and models with random weights on them, as `adasparse export` finds a run's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from adasparse_cli.choices import FieldKind
from adasparse_cli.config.compose import compose
from adasparse_cli.exporting.write import ExportSource
from adasparse_cli.models import MODELS
from adasparse_cli.models.base import DataShape, Model, NetworkSettings
from adasparse_cli.prepared.files import open_prepared
from adasparse_cli.rows.dataset import load_shape
from adasparse_cli.typed import plain, typed
from tests.commands.typing_in import adasparse

HEADER = ("clicked", "country", "device", "item", "price", "tags")
NETWORK = ("network.hidden=[24,16]", "network.embedding_width=4", "network.context.width=5")


def write_table(path: Path, rows: int = 3000, *, seed: int = 0) -> None:
    """Rows of a shop: texts, numbers with decimals, lists, missing values, rare values."""
    draw = np.random.default_rng(seed)
    lines = []
    for _ in range(rows):
        country = ["DE", "FR", "IT", "missing", "a/b", ""][int(draw.choice(6, p=[0.4, 0.3, 0.1, 0.1, 0.05, 0.05]))]
        device = ["mobile", "desktop", "tablet"][int(draw.choice(3, p=[0.6, 0.39, 0.01]))]
        item = str(int(draw.zipf(1.3)) % 300)
        price = "" if draw.random() < 0.1 else f"{draw.gamma(2.0) * 10:.3f}"
        tags = "|".join(f"t{int(k)}" for k in draw.integers(0, 12, int(draw.integers(0, 4))))
        lines.append(f"{int(draw.random() < 0.3)},{country},{device},{item},{price},{tags}")
    path.write_text("\n".join([",".join(HEADER), *lines]) + "\n")


def prepare(folder: Path, *words: str, table: bool = True) -> Path:
    """Prepared data of such a table, below `folder`; without `table`, of the one that is there."""
    if table:
        write_table(folder / "shop.csv")
    adasparse(
        folder, "prep", "data=tabular", "raw=shop.csv", "data.name=shop", "data.label=clicked",
        "data.domain=[country,device]", "data.kinds={tags: multi_valued, price: numeric}", "data.list_separator=|",
        "data.split=random", *words,
    )  # fmt: skip
    return folder / "data/shop"


def random_model(data: Path, *words: str, spread: float = 1.0, seed: int = 0) -> tuple[Model, ExportSource]:
    """A model with random weights, moving statistics included, whose pruners keep some neurons and prune others."""
    tree = compose("train", [*NETWORK, *words])
    manifest = open_prepared(data)
    shape: DataShape = load_shape(data, manifest)
    name = str(tree["model"]["name"])
    settings = typed(tree["model"], MODELS[name].Settings, "model")
    network = typed(tree["network"], NetworkSettings, "network")
    torch.manual_seed(seed)
    model: Model = MODELS[name](settings, network, shape)  # type: ignore[call-arg]
    with torch.no_grad():
        for own, parameter in model.named_parameters():
            if own.startswith("pruners") or "embedding" in own or "table" in own:
                parameter.normal_(0, spread)
            elif own.endswith(".bias") or "log_sharpness" in own:
                parameter.normal_(0, 0.3)
            elif "learnt_threshold" in own:
                parameter.uniform_(0.8, 1.2)
        for part in model.modules():
            if isinstance(part, nn.BatchNorm1d):
                part.running_mean.normal_(0, 0.5)  # type: ignore[union-attr]
                part.running_var.uniform_(0.3, 2.0)  # type: ignore[union-attr]
                part.weight.uniform_(-1.5, 1.5)
    model.schedule(0.6)
    model.eval()
    sections = {"model": plain(settings), "network": plain(network)}
    source = ExportSource(
        model=model, manifest=manifest, encoder=data, label=name, settings=sections, run={"name": "r", "seed": 0}
    )
    return model, source


def multi_valued(data: Path) -> list[str]:
    """Names of the multi-valued fields."""
    return [field.name for field in open_prepared(data).fields if field.kind is FieldKind.multi_valued]
