"""The models and loops that can be trained, and their parameter counts and multiply-adds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adasparse_cli.catalogue.costs import cost_of
from adasparse_cli.catalogue.data_list import data_set
from adasparse_cli.config.compose import compose
from adasparse_cli.config.packaged_sections import offered
from adasparse_cli.config.settable import Setting, chosen_groups, group_settings
from adasparse_cli.config.settings_source import class_docstring, docstring_of
from adasparse_cli.foreign import foreign_model
from adasparse_cli.models.named import PACKAGED, settings_of_model
from adasparse_cli.models.settings.network import NetworkSettings
from adasparse_cli.training.loops import LOOPS, settings_of_loop
from adasparse_cli.training.settings import LoopSettings
from adasparse_cli.typed import typed

_COST = ("backbone parameters", "domain parameters", "multiply-adds per row")


def listed_models(root: Path, on: str | None, cache: Path | None) -> list[dict[str, Any]]:
    """Every model and loop: description, settings, and cost with packaged settings.

    Args:
        root: folder of prepared data. on: data set whose fields are used for the cost; None for example fields.
        cache: folder in which costs are kept.
    """
    rows = [
        {
            "model": name,
            "what": class_docstring(PACKAGED.place(name)).splitlines()[0],
            "settings": ", ".join(_names(settings_of_model(name), {"name"})) or "–",
            **_cost_of(name, root, on, cache),
        }
        for name in sorted(PACKAGED)
    ]
    plain = next(row for row in rows if row["model"] == "dnn")
    for name in sorted(LOOPS):
        if name != "standard":
            first = class_docstring(LOOPS.place(name)).splitlines()[0]
            what = f"{first} (a loop; `loop={name}` trains other models with it)"
            own = _names(settings_of_loop(name), set(_names(LoopSettings, set())))
            rows.append({**plain, "model": name, "what": what, "settings": ", ".join(own)})
    return rows


def _names(settings: type[Any], known: set[str]) -> list[str]:
    return [name for name in settings.__dataclass_fields__ if name not in known]


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
    foreign = None if is_loop or module in PACKAGED else foreign_model(module)
    shared = {one.key for one in group_settings("loop", "standard")} if is_loop else {"model.name"}
    return ModelPage(
        description=docstring_of(f"adasparse_cli.{package}.{module}" if foreign is None else foreign.module),
        settings=tuple(one for one in own if one.key not in shared),
        choices={group: name},
        cost=_cost_of("dnn" if is_loop else name, root, on, cache),
    )


def _cost_of(name: str, root: Path, on: str | None, cache: Path | None) -> dict[str, int]:
    """The cost of `model=NAME` with packaged settings."""
    tree = compose("train", [f"model={name}"])
    settings = typed(tree["model"], settings_of_model(tree["model"]["name"]), "model")
    network = typed(tree["network"], NetworkSettings, "network")
    manifest = None if on is None else data_set(root, on)
    cost = cost_of(settings, network, folder=None if on is None else root / on, manifest=manifest, cache=cache)
    multiply_adds = cost["backbone_multiply_adds"] + cost["domain_multiply_adds"]
    counts = cost["backbone_parameters"], cost["domain_parameters"], multiply_adds
    return dict(zip(_COST, counts, strict=True))
