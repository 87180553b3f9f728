"""Parameters and multiply-adds of models, cached in a file: counting them loads torch and builds the model without values."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adasparse_cli.errors import IntegrityError
from adasparse_cli.files import read_json, write_json
from adasparse_cli.models.named import model_named, source_of
from adasparse_cli.models.settings.network import NetworkSettings
from adasparse_cli.schema import Manifest
from adasparse_cli.typed import plain

if TYPE_CHECKING:
    from adasparse_cli.models.base import DataShape

# Sources that determine a cost, together with the settings and the data.
_SOURCES = ("models", "layers")


def cost_of(
    model: Any,
    network: NetworkSettings,
    *,
    folder: Path | None = None,
    manifest: Manifest | None = None,
    cache: Path | None = None,
) -> dict[str, int]:
    """The values of `models.base.Cost` for a model.

    Args:
        model: its settings.
        folder, manifest: the prepared data whose fields are used; None for example fields, see `example`.
        cache: folder in which costs are cached, see `cache_folder`.
    """
    data = "example" if manifest is None else manifest.fingerprint
    named = json.dumps([plain(model), source_of(model.name), plain(network), data], sort_keys=True)
    key = hashlib.sha256(named.encode()).hexdigest()
    path = None if cache is None else cache / f"costs-{_hash_of_sources()}.json"
    cached = {} if path is None else _read_cache(path)
    if key not in cached:
        cached[key] = dataclasses.asdict(_counted(model, network, folder, manifest))
        if path is not None:
            _write_cache(path, cached)
    return dict(cached[key])


def cache_folder() -> Path:
    """The cache folder of this tool: `$XDG_CACHE_HOME/adasparse`, or `~/.cache/adasparse`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "adasparse"


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


def _counted(model: Any, network: NetworkSettings, folder: Path | None, manifest: Manifest | None) -> Any:
    """The cost of a model that is built without values, so no memory is used."""
    from adasparse_cli.models.unfilled import unfilled

    if folder is None or manifest is None:
        shape = example()
    else:
        from adasparse_cli.rows.dataset import load_shape

        shape = load_shape(folder, manifest)
    kind: Any = model_named(model.name)
    with unfilled():
        return kind(model, network, shape).cost()


def _read_cache(path: Path) -> dict[str, Mapping[str, int]]:
    """The costs in a file; empty if there is none, or it is damaged."""
    try:
        found = read_json(path)["costs"]
        return {key: {name: int(number) for name, number in cost.items()} for key, cost in found.items()}
    except (IntegrityError, OSError, KeyError, TypeError, ValueError, AttributeError):
        return {}


def _write_cache(path: Path, costs: Mapping[str, Mapping[str, int]]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for older in (*path.parent.glob("costs-*.json"), *path.parent.glob("models-*.json")):
            if older != path:
                older.unlink(missing_ok=True)
        write_json(path, {"costs": costs})
    except OSError:  # a home folder that is not writable only costs time
        return


@functools.cache
def _hash_of_sources() -> str:
    found = hashlib.sha256()

    def add(place: Traversable) -> None:
        for one in sorted(place.iterdir(), key=lambda path: path.name):
            if one.is_dir():
                add(one)
            elif one.name.endswith(".py"):
                found.update(one.name.encode() + b"\0" + one.read_bytes())

    for package in _SOURCES:  # the packages are not imported, because that would load torch
        add(files("adasparse_cli") / package)
    found.update((files("adasparse_cli") / "catalogue" / "costs.py").read_bytes())
    return found.hexdigest()[:16]
