"""Merges overrides and settings files with the packaged values to a plain tree of values; `typed.py` converts it."""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adasparse_cli.config.grammar import opened, opened_section, override_values, require_readable
from adasparse_cli.config.merged import merged
from adasparse_cli.config.own_models import own_models
from adasparse_cli.config.packaged_sections import data_start, offered, packaged_root
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
    own = _Own(own_models(words))
    opened_words = (*map(opened_section, from_file), *map(opened, overrides))
    return copy.deepcopy(_composed(root, opened_words, tuple(words), private_folder(), own))


class _Own(dict[str, dict[str, Any]]):
    """Values of custom models by name, as a part of the key of a cache."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(repr(self))


@functools.lru_cache(maxsize=256)
def _composed(
    root: str, words: tuple[str, ...], typed: tuple[str, ...], folder: Path | None, own: _Own
) -> dict[str, Any]:
    """The values, cached, because the plan of a study repeats the same overrides.

    Args:
        typed: the overrides as the user typed them. folder: the user's settings folder, which the result depends on.
    """
    found = merged(root, words, own)
    if found is not None:
        return found
    from adasparse_cli.config.with_hydra import composed  # takes a quarter of a second to load

    return composed(root, words, own, typed)


def explicit_keys(overrides: Sequence[str], *, config_file: Path | None = None) -> set[str]:
    """The keys that a user named, for example `data.split`; choosing from a group (`data=twin`) names no key."""
    words = [*(_file_overrides(config_file) if config_file else ()), *overrides]
    return set(override_values(words))


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
    values = override_values(words)
    group, name = (None if values.get(key) is None else str(values[key]) for key in ("data", "data.name"))
    return DataChoice(group, name, Path(str(values.get("paths.data") or packaged_root("train")[1]["paths"]["data"])))


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
            if chosen is not None and (name == "data" or chosen in offered(name) or _is_own_model(name, chosen)):
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
        return name if name in offered("data") else None
    start = data_start(str(name), str(recipe))
    # settings of a custom recipe override those of the chosen data set
    return None if start == "common" and not {"name", "domain"} <= section.keys() else start
