"""The models and loops that can be trained, and what each weighs."""

from __future__ import annotations

import hashlib
import os
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adasparse_cli.errors import IntegrityError
from adasparse_cli.files import read_json, write_json
from adasparse_cli.prep.place import MANIFEST
from adasparse_cli.runs.data_list import data_set

if TYPE_CHECKING:
    from adasparse_cli.models.base import DataShape

# What the figures of `models ls` follow from, beside the data set.
_SOURCES = ("models", "layers", "training")


def listed_models(root: Path, on: str | None, cache: Path | None) -> list[dict[str, Any]]:
    """`list_models`, from a file of an earlier call where there is one: weighing a model loads torch and builds it.

    Args:
        root: folder of prepared data. on: the data set to weigh models on; None for made-up fields.
        cache: where results are kept, by a hash of the packaged code, settings and data that they follow from.
    """
    if on is not None:
        data_set(root, on)
    manifest = b"" if on is None else (root / on / MANIFEST).read_bytes()
    path = None if cache is None else cache / f"models-{_hash_of_sources(manifest)}.json"
    if path is not None and path.exists():
        try:
            return list(read_json(path)["models"])
        except (IntegrityError, KeyError, TypeError):
            path.unlink(missing_ok=True)
    rows = list_models(None if on is None else shape_of(root, on))
    if path is not None:
        _keep(path, rows)
    return rows


def cache_folder() -> Path:
    """The folder of this tool among the user's caches: `$XDG_CACHE_HOME/adasparse`, or `~/.cache/adasparse`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "adasparse"


def _keep(path: Path, rows: list[dict[str, Any]]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for older in path.parent.glob("models-*.json"):
            older.unlink(missing_ok=True)
        write_json(path, {"models": rows})
    except OSError:  # a home that cannot be written only costs time
        return


def _hash_of_sources(manifest: bytes) -> str:
    found = hashlib.sha256(manifest)

    def add(place: Traversable) -> None:
        for one in sorted(place.iterdir(), key=lambda path: path.name):
            if one.is_dir():
                add(one)
            elif one.name.endswith((".py", ".yaml")):
                found.update(one.name.encode() + b"\0" + one.read_bytes())

    for room in _SOURCES:  # their packages are not imported: that would load torch
        add(files("adasparse_cli") / room)
    add(files("adasparse_cli.conf"))
    return found.hexdigest()[:16]


def example() -> DataShape:
    """What models are weighed on where no data set is named: as in benchmarks/."""
    from adasparse_cli.choices import FieldKind, FieldRole
    from adasparse_cli.models.base import DataShape
    from adasparse_cli.schema import Field

    return DataShape(
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
        shape: of the data to weigh models on; without it, those of `example`.
    """
    import torch

    from adasparse_cli.config.compose import compose
    from adasparse_cli.models import MODELS
    from adasparse_cli.models.base import NetworkSettings
    from adasparse_cli.training.loops import LOOPS
    from adasparse_cli.training.settings import LoopSettings
    from adasparse_cli.typed import typed

    rows = []
    for name, model in sorted(MODELS.items()):
        tree = compose("train", [f"model={name}"])
        settings = typed(tree["model"], model.Settings, "model")
        network = typed(tree["network"], NetworkSettings, "network")
        with torch.device("meta"):
            built: Any = model
            cost = built(settings, network, shape or example()).cost()
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
    from adasparse_cli.training.dataset import load_shape

    return load_shape(root / name, data_set(root, name))
