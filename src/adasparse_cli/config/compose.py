"""Merges overrides and settings files with the packaged values to a plain tree of values; `typed.py` converts it."""

from __future__ import annotations

import copy
import dataclasses
import functools
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from adasparse_cli.config.explain import explained
from adasparse_cli.config.grammar import opened, opened_section, require_readable
from adasparse_cli.config.own_models import register_own_models
from adasparse_cli.config.packaged import choices_in, composing
from adasparse_cli.config.packaged_sections import data_start
from adasparse_cli.config.private import private_folder
from adasparse_cli.config.spelling import leaves, spelled
from adasparse_cli.errors import IntegrityError, UsageError
from adasparse_cli.files import read_small_text
from adasparse_cli.foreign import foreign_model
from adasparse_cli.typed import from_yaml

# Largest number of values in a settings file; Hydra reads about 200 in a second.
MOST_KEYS = 2000


def compose(root: str, overrides: Sequence[str], *, config_file: Path | None = None) -> dict[str, Any]:
    """The values of a command, as plain dicts and lists.

    Precedence: packaged YAML < `config_file` < `overrides`.

    Args:
        root: name of a root file in conf/, for example `train`.
        overrides: `key=value` in Hydra's grammar.
        config_file: a YAML file of values in the form of the root file; entries like `data: NAME` choose from a group.

    Raises:
        UsageError: an override cannot be parsed, a key or a choice is unknown, a value refers to another one (`${…}`).
    """
    from_file = _file_overrides(config_file) if config_file else []
    words = [*from_file, *overrides]
    require_readable(words)
    own = register_own_models(words, choices_in("model"))
    try:
        return copy.deepcopy(
            _composed(root, (*map(opened_section, from_file), *map(opened, overrides)), private_folder(), own)
        )
    except (HydraException, OmegaConfBaseException) as error:
        raise explained(error, root, words) from None


@functools.lru_cache(maxsize=256)
def _composed(root: str, words: tuple[str, ...], folder: Path | None, own: str) -> dict[str, Any]:
    """Hydra's result, cached: composing takes a tenth of a second, and the plan of a study repeats the same overrides.

    Args:
        folder, own: further inputs of the result.
    """
    with composing():
        tree = hydra_compose(root, overrides=list(words))
        return typing.cast("dict[str, Any]", OmegaConf.to_container(tree, resolve=False))


def explicit_keys(overrides: Sequence[str], *, config_file: Path | None = None) -> set[str]:
    """The keys that a user named, for example `data.split`; choosing from a group (`data=twin`) names no key."""
    words = [*(_file_overrides(config_file) if config_file else ()), *overrides]
    return {str(word.key_or_group) for word in OverridesParser.create().parse_overrides(words)}


@dataclasses.dataclass(frozen=True)
class DataChoice:
    """The data that overrides select: the name after `data=`, the name after `data.name=`, and the folder of prepared data."""

    group: str | None
    name: str | None
    root: Path


def data_choice(overrides: Sequence[str], *, config_file: Path | None = None) -> DataChoice:
    """The data that a file and overrides select, before anything is composed.

    Raises:
        UsageError: an override cannot be parsed.
    """
    words = [*(_file_overrides(config_file) if config_file else ()), *overrides]
    require_readable(words)
    values = {own.key_or_group: own.value() for own in OverridesParser.create().parse_overrides(words)}
    group, name = (None if values.get(key) is None else str(values[key]) for key in ("data", "data.name"))
    return DataChoice(group, name, Path(str(values.get("paths.data") or packaged(())["paths"]["data"])))


@functools.cache
def packaged(words: tuple[str, ...]) -> dict[str, Any]:
    return compose("train", words)


def _file_overrides(path: Path) -> list[str]:
    """A YAML file's values as overrides, so that both are composed in the same way."""
    try:
        values = from_yaml(read_small_text(path))
    except FileNotFoundError:
        raise UsageError(f"--config {path}: the file does not exist", hint="give a path to a YAML file") from None
    except IntegrityError as error:
        raise UsageError(f"--config {error.message}", hint="give a path to a YAML file of settings") from None
    except ValueError as error:
        raise UsageError(
            f"--config {path} cannot be used: {error}".replace("\n", " "),
            hint="it must have the form of conf/train.yaml",
        ) from None
    groups, keys = [], []
    for name, value in values.items():
        if name == "model_source":  # in a run's config.yaml: a checksum of the module, not a setting
            continue
        if isinstance(value, dict):
            chosen = (
                _packaged_data(value) if name == "data" else value.get("name") if name in ("model", "loop") else None
            )
            if chosen is not None and (name == "data" or chosen in choices_in(name) or _is_own_model(name, chosen)):
                groups.append(f"{name}={chosen}")
            keys += [f"{name}.{key}={spelled(item)}" for key, item in leaves(value)]
        else:
            (groups if name in ("model", "loop", "data", "network") else keys).append(f"{name}={spelled(value)}")
    if len(keys) > MOST_KEYS:
        raise UsageError(
            f"--config {path} has {len(keys):,} values, at most {MOST_KEYS:,} are read",
            hint="name only what differs from adasparse config show",
        )
    return [*groups, *keys]


def _is_own_model(group: str, name: Any) -> bool:
    return group == "model" and foreign_model(str(name)) is not None


def _packaged_data(section: Mapping[str, Any]) -> str | None:
    """The name in conf/data that a file's section extends; None if the section does not say."""
    name, recipe = section.get("name"), section.get("recipe")
    if recipe is None:
        return name if name in choices_in("data") else None
    start = data_start(str(name), str(recipe))
    # settings of a custom recipe override those of the chosen data set
    return None if start == "common" and not {"name", "domain"} <= section.keys() else start
