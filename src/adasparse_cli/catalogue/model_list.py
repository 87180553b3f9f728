"""The models and loops that can be trained, and their parameter counts and multiply-adds."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adasparse_cli.catalogue.data_list import data_set
from adasparse_cli.config.packaged_sections import offered
from adasparse_cli.config.settable import Setting, chosen_groups, group_settings
from adasparse_cli.config.settings_source import docstring_of
from adasparse_cli.errors import IntegrityError
from adasparse_cli.files import read_json, write_json
from adasparse_cli.prep.place import MANIFEST

if TYPE_CHECKING:
    from adasparse_cli.models.base import DataShape

_COST = ("backbone parameters", "domain parameters", "multiply-adds per row")
# Sources that determine the figures of `models ls`, together with the data set.
_SOURCES = ("models", "layers", "training")


def listed_models(root: Path, on: str | None, cache: Path | None) -> list[dict[str, Any]]:
    """The result of `list_models`, cached in a file: computing the cost of a model loads torch and builds it.

    Args:
        root: folder of prepared data. on: data set whose fields are used; None for example fields.
        cache: folder of cached results, by a hash of the code, settings and data that determine them.
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


@dataclass(frozen=True, kw_only=True)
class ModelPage:
    """A model or loop, as `models show` prints it.

    Args:
        description: the docstring of its module: equations, source, differences.
        settings: of this model or loop. choices: overrides that choose it, for example `{"model": "star"}`.
        cost: parameters and multiply-adds per row without embeddings, with packaged settings.
    """

    description: str
    settings: tuple[Setting, ...]
    choices: Mapping[str, str]
    cost: Mapping[str, Any]


def described(name: str, root: Path, on: str | None, cache: Path | None) -> ModelPage:
    """A model, or a loop with the DNN; the arguments are as for `listed_models`.

    Raises:
        UsageError: there is no such model or loop.
    """
    is_loop = name not in offered("model") and name in offered("loop")
    group, package = ("loop", "training") if is_loop else ("model", "models")
    if not is_loop:
        chosen_groups([f"model={name}"])
    own = group_settings(group, name)
    module = next(one.default for one in own if one.key == f"{group}.name")
    shared = {one.key for one in group_settings("loop", "standard")} if is_loop else {"model.name"}
    row = next((one for one in listed_models(root, on, cache) if one["model"] == name), None)
    if row is None:  # a variant of a model, for example `adasparse-paper`
        row = _cost_of(name, None if on is None else shape_of(root, on))
    return ModelPage(
        description=docstring_of(f"adasparse_cli.{package}.{module}"),
        settings=tuple(one for one in own if one.key not in shared),
        choices={group: name},
        cost={key: row[key] for key in _COST},
    )


def cache_folder() -> Path:
    """The cache folder of this tool: `$XDG_CACHE_HOME/adasparse`, or `~/.cache/adasparse`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "adasparse"


def _keep(path: Path, rows: list[dict[str, Any]]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for older in path.parent.glob("models-*.json"):
            older.unlink(missing_ok=True)
        write_json(path, {"models": rows})
    except OSError:  # a home folder that is not writable only costs time
        return


def _hash_of_sources(manifest: bytes) -> str:
    found = hashlib.sha256(manifest)

    def add(place: Traversable) -> None:
        for one in sorted(place.iterdir(), key=lambda path: path.name):
            if one.is_dir():
                add(one)
            elif one.name.endswith((".py", ".yaml")):
                found.update(one.name.encode() + b"\0" + one.read_bytes())

    for package in _SOURCES:  # the packages are not imported, because that would load torch
        add(files("adasparse_cli") / package)
    add(files("adasparse_cli.conf"))
    return found.hexdigest()[:16]


def example() -> DataShape:
    """The data shape that costs refer to if no data set is named, the same as in benchmarks/."""
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
    """Every model and loop: description, settings, and cost with packaged settings.

    Args:
        shape: data shape for the cost; default is `example`.
    """
    from adasparse_cli.models import MODELS
    from adasparse_cli.training.loops import LOOPS
    from adasparse_cli.training.settings import LoopSettings

    rows = []
    for name, model in sorted(MODELS.items()):
        own = [field for field in model.Settings.__dataclass_fields__ if field != "name"]
        rows.append(
            {
                "model": name,
                "what": (model.__doc__ or "").splitlines()[0],
                "settings": ", ".join(own) or "–",
                **_cost_of(name, shape),
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


def _cost_of(name: str, shape: DataShape | None) -> dict[str, int]:
    """The cost of `model=NAME` with packaged settings. Nothing is computed, so no memory is used."""
    from adasparse_cli.config.compose import compose
    from adasparse_cli.models import MODELS
    from adasparse_cli.models.settings.network import NetworkSettings
    from adasparse_cli.models.unfilled import unfilled
    from adasparse_cli.typed import typed

    tree = compose("train", [f"model={name}"])
    model: Any = MODELS[tree["model"]["name"]]
    settings = typed(tree["model"], model.Settings, "model")
    network = typed(tree["network"], NetworkSettings, "network")
    with unfilled():
        cost = model(settings, network, shape or example()).cost()
    counts = cost.backbone_parameters, cost.domain_parameters, cost.backbone_multiply_adds + cost.domain_multiply_adds
    return dict(zip(_COST, counts, strict=True))


def shape_of(root: Path, name: str) -> DataShape:
    """The properties of a prepared data set that models need."""
    from adasparse_cli.training.dataset import load_shape

    return load_shape(root / name, data_set(root, name))
