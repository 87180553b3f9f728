"""Sections of the packaged settings, read without Hydra, which takes a tenth of a second for each.

These values are only shown or listed; `compose.py` composes the values for training. A test compares both for every name.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from adasparse_cli.config.private import private_folder
from adasparse_cli.errors import UsageError
from adasparse_cli.typed import from_yaml


def offered(group: str) -> tuple[str, ...]:
    """The names in a group of conf/, and in the user's settings folder (`--config-dir`)."""
    return _names(group, private_folder())


def packaged_names(group: str) -> tuple[str, ...]:
    """The names in a group of conf/."""
    return _names(group, None)


@functools.cache
def packaged_root(root: str) -> tuple[Mapping[str, str], Mapping[str, Any]]:
    """The default choice of each group in `conf/ROOT.yaml`, and its other values."""
    values = from_yaml((files("adasparse_cli.conf") / f"{root}.yaml").read_text(encoding="utf-8"))
    choices = {group: name for one in values.pop("defaults") if one != "_self_" for group, name in one.items()}
    return choices, values


@functools.cache
def _names(group: str, folder: Path | None) -> tuple[str, ...]:
    names = {path.name for path in (files("adasparse_cli.conf") / group).iterdir()}
    if folder is not None:
        names |= {path.name for path in (folder / group).glob("*.yaml")}
    return tuple(sorted(name[:-5] for name in names if name.endswith(".yaml") and name != "common.yaml"))


def data_start(name: str, recipe: str) -> str:
    """The data set of conf/data that settings extend: with the same name and recipe, with the same recipe, or `common`."""
    if name in offered("data") and (packaged_section("data", name) or {}).get("recipe") == recipe:
        return name
    return recipe if recipe in offered("data") else "common"


def packaged_section(group: str, name: str) -> Mapping[str, Any] | None:
    """The values of `conf/GROUP/NAME.yaml`, merged with the file that it extends; None if it does not exist.

    Args:
        group: `data`, `network`, `model` or `loop`.

    Raises:
        UsageError: a file of the user's settings folder contains no settings.
    """
    return _section(group, name, private_folder())


@functools.cache
def _section(group: str, name: str, folder: Path | None) -> Mapping[str, Any] | None:
    if not name.replace("-", "_").isidentifier():
        return None
    places: list[Traversable] = [files("adasparse_cli.conf") / group, *([folder / group] if folder is not None else [])]
    path = next((place / f"{name}.yaml" for place in places if (place / f"{name}.yaml").is_file()), None)
    if path is None:
        return None
    try:
        values = from_yaml(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"{path} cannot be used: {error}", hint="it must have key: value lines") from None
    defaults = values.pop("defaults", ["_self_"])
    found: dict[str, Any] = {}
    for start in defaults:
        below = values if start == "_self_" else _section(group, start, folder) if isinstance(start, str) else None
        found = _laid_over(found, below or {})
    return found


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    both = {
        key: _laid_over(below[key], value)
        for key, value in above.items()
        if isinstance(value, Mapping) and isinstance(below.get(key), Mapping)
    }
    return {**below, **above, **both}
