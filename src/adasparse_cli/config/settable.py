"""Every setting: its meaning, type, range and default, and the names that have it.

Nothing is composed or imported: values come from the packaged YAML, the rest from `settings_source.py`. This takes
a tenth of a second, which completion needs.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adasparse_cli.config.own_models import own_model_values
from adasparse_cli.config.packaged_sections import offered, packaged_names, packaged_root, packaged_section
from adasparse_cli.config.private import private_folder
from adasparse_cli.config.settings_source import (
    Kind,
    SourceField,
    sections_inside,
    settings_class,
    settings_of_class,
    source_fields,
)
from adasparse_cli.config.unknown import unknown_choice, unknown_key
from adasparse_cli.errors import UsageError
from adasparse_cli.foreign import ForeignModel, foreign_model, import_model
from adasparse_cli.typed import flat

# The sections that choose from a group of conf/, in the order of `config show`.
GROUPS = ("data", "network", "model", "loop", "tracking", "launcher")
# The commands that take settings, by the file of conf/ with their defaults.
COMMANDS = {
    "train": ("train", "ablate", "compare", "sweep", "hpo", "tune", "reproduce", "analyze domains", "analyze sparsity"),
    "prep": ("prep",),
}
NO_DEFAULT = "???"
# The dataclasses of the settings outside the groups, by the file of conf/ that has their defaults.
_OF_ROOT = {"train": ("adasparse_cli.config.root", "TrainRoot"), "prep": ("adasparse_cli.config.root", "PrepRoot")}
_PLACES = {
    "network": ("adasparse_cli.models.settings.network", "NetworkSettings"),
    "tracking": ("adasparse_cli.training.tracking", "TrackingSettings"),
}
_NAMES = {"model": "name of the model; `model=NAME` sets it.", "loop": "name of the loop; `loop=NAME` sets it."}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One key that can be set.

    Args:
        default: the packaged value; `NO_DEFAULT` if a value is required.
        commands: the commands that accept it.
        owner: module and class of the dataclass that defines it.
    """

    key: str
    meaning: str
    kind: Kind
    default: Any
    commands: tuple[str, ...]
    owner: tuple[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """The names in the key's group that have this setting, for example models; empty for keys outside groups."""
        group, _, key = self.key.partition(".")
        names = offered(group) if group in GROUPS else ()
        return tuple(name for name in names if _definition(group, name, key) == self.owner)


def default_choices() -> Mapping[str, str]:
    """The default choice of each group, from conf/train.yaml."""
    return packaged_root("train")[0]


def chosen_groups(words: Sequence[str]) -> dict[str, str]:
    """The choices in overrides such as `model=star`.

    Raises:
        UsageError: an override is not a choice, or a name is unknown.
    """
    found = {}
    for word in words:
        group, is_choice, name = word.partition("=")
        if not is_choice or group not in GROUPS:
            raise UsageError(f"{word!r} is not a choice", hint="for example model=star, loop=maml or data=tabular")
        own = _own_model(group, name)
        if own is None and name not in offered(group):
            raise unknown_choice(group, name, offered(group), offered("loop"))
        if own is not None:
            import_model(own[0], own[1])
            if not group_settings(group, name):
                raise UsageError(
                    f"{word}: the source of its Settings cannot be read",
                    hint="Settings must be a class of the model's module, or of adasparse",
                )
        found[group] = name
    return found


def _own_model(group: str, name: str) -> tuple[str, ForeignModel] | None:
    """The custom model that `model=NAME` means, itself or through a file of the user's settings folder."""
    if group != "model":
        return None
    meant = str((packaged_section(group, name) or {}).get("name", name))
    foreign = None if meant in packaged_names(group) else foreign_model(meant)
    return None if foreign is None else (meant, foreign)


def _section(group: str, name: str) -> Mapping[str, Any]:
    """The packaged values of a section; of a custom model that has been imported, the values next to its module."""
    found = packaged_section(group, name)
    if found is None and (own := _own_model(group, name)) is not None and own[1].module in sys.modules:
        return own_model_values(name)
    return found or {}


def settings(choices: Mapping[str, str] | None = None) -> list[Setting]:
    """Every setting of `train` with these choices; packaged defaults for other groups."""
    chosen = {**default_choices(), **(choices or {})}
    return [*root_settings(), *(one for group in GROUPS for one in group_settings(group, chosen[group]))]


@functools.cache
def root_settings() -> tuple[Setting, ...]:
    """The settings outside the groups."""
    values = {root: _root_values(root) for root in COMMANDS}
    return tuple(
        Setting(
            key=field.key,
            meaning=field.meaning,
            kind=field.kind,
            default=values[root][field.key],
            owner=field.owner,
            commands=tuple(one for other, names in COMMANDS.items() if field.key in values[other] for one in names),
        )
        for root, place in _OF_ROOT.items()
        for field in source_fields(place)
    )


def group_settings(group: str, name: str) -> tuple[Setting, ...]:
    """The settings of `GROUP=NAME`; empty for a module outside this package."""
    return _group_settings(group, name, private_folder())


@functools.cache
def _group_settings(group: str, name: str, folder: Path | None) -> tuple[Setting, ...]:
    values = flat_values(group, name)
    commands = tuple(one for root, names in COMMANDS.items() if root == "train" or group == "data" for one in names)
    return tuple(
        Setting(
            key=f"{group}.{field.key}",
            meaning=_meaning(field, group),
            kind=field.kind,
            default=values[field.key],
            commands=commands,
            owner=field.owner,
        )
        for field in _fields(group, name)
    )


def comments_for(tree: Mapping[str, Any]) -> dict[str, str]:
    """The meaning of every key and section of composed values, for dataclasses of this package."""
    found = {field.key: _comment(field) for place in _OF_ROOT.values() for field in source_fields(place)}
    for place in _OF_ROOT.values():
        found |= sections_inside(place)
    for group in GROUPS:
        if (chosen := _place_of(group, tree.get(group) or {})) is not None:
            found |= {f"{group}.{key}": text for key, text in sections_inside(chosen).items()}
            found |= {f"{group}.{field.key}": _comment(field, group) for field in source_fields(chosen)}
    return found


def matching(key: str, choices: Mapping[str, str]) -> list[Setting]:
    """The settings of a key, or below a prefix such as `model.regulariser`.

    If the key's group is not chosen and the default choice does not have the key, the first name that has it is used.

    Raises:
        UsageError: there is no such key.
    """
    key = key.rstrip(".")
    group = key.partition(".")[0]
    chosen = {**default_choices(), **choices}
    found = _below(key, group_settings(group, chosen[group]) if group in chosen else root_settings())
    if not found and group in GROUPS and group not in choices:
        others = (_below(key, group_settings(group, name)) for name in offered(group))
        found = next((one for one in others if one), [])
    if found:
        return found
    choice = f"{group}={choices[group]}" if group in choices else None
    if choice is not None:
        having = [f"{group}={name}" for name in offered(group) if _below(key, group_settings(group, name))]
        if having:
            raise UsageError(f"unknown setting {key} for {choice}", hint=f"it is a setting of {', '.join(having)}")
    known = dict.fromkeys(setting.key for setting in settings(choices))
    for name in offered(group) if group in GROUPS and group not in choices else ():
        known |= dict.fromkeys(one.key for one in group_settings(group, name))
    raise unknown_key(key, list(known), choice=choice, otherwise="adasparse config show prints all keys")


def flat_values(group: str, name: str) -> dict[str, Any]:
    """The packaged values of `GROUP=NAME` by key of the dataclass; a mapping that is a value is not flattened."""
    section = _section(group, name)

    def value_of(key: str) -> Any:
        found: Any = section
        for part in key.split("."):
            found = found.get(part, NO_DEFAULT) if isinstance(found, Mapping) else NO_DEFAULT
        return found

    return {field.key: value_of(field.key) for field in _fields(group, name)}


def _below(key: str, found: Sequence[Setting]) -> list[Setting]:
    return [one for one in found if one.key == key or one.key.startswith(f"{key}.")]


def _fields(group: str, name: str) -> tuple[SourceField, ...]:
    """The fields; empty for a module outside this package that has not been imported."""
    place = _place_of(group, _section(group, name))
    return () if place is None else source_fields(place)


def _definition(group: str, name: str, key: str) -> tuple[str, str] | None:
    return next((field.owner for field in _fields(group, name) if field.key == key), None)


def _place_of(group: str, section: Mapping[str, Any]) -> tuple[str, str] | None:
    """The dataclass of a section with these values; models, loops and recipes have a module with their name.

    None for a module outside this package that has not been imported: completion and lists run no foreign code.
    """
    if group in _PLACES:
        return _PLACES[group]
    room, key = {
        "model": ("models", "name"),
        "loop": ("training", "name"),
        "data": ("data_prep", "recipe"),
        "launcher": ("cluster", "name"),
    }[group]
    name = str(section.get(key))
    with contextlib.suppress(LookupError, FileNotFoundError):
        if group == "model" and name not in packaged_names(group) and (foreign := foreign_model(name)) is not None:
            return settings_of_class((foreign.module, foreign.attribute))
        return settings_class(f"adasparse_cli.{room}.{name}") if name.isidentifier() else None
    return None


def _meaning(field: SourceField, group: str = "") -> str:
    return field.meaning or (_NAMES.get(group, "") if field.key == "name" else "")


def _comment(field: SourceField, group: str = "") -> str:
    return f"{_meaning(field, group)} [{field.kind.words}]"


def _root_values(root: str) -> dict[str, Any]:
    return flat(packaged_root(root)[1])
