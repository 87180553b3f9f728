"""Settings as their source explains them. Truth: the dataclasses themselves, imported, and what Hydra composes."""

from __future__ import annotations

import collections.abc
import dataclasses
import importlib
import types
import typing
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra
from typer.main import get_command

from adasparse_cli.app import app
from adasparse_cli.choices import Between, PlainName
from adasparse_cli.cluster import launchers
from adasparse_cli.config.commented import commented_yaml
from adasparse_cli.config.compose import compose
from adasparse_cli.config.packaged import composing
from adasparse_cli.config.packaged_sections import offered
from adasparse_cli.config.private import with_private_folder
from adasparse_cli.config.reference import reference_page
from adasparse_cli.config.root import PrepRoot, TrainRoot
from adasparse_cli.config.settable import (
    COMMANDS,
    GROUPS,
    NO_DEFAULT,
    Setting,
    comments_for,
    group_settings,
    matching,
    root_settings,
    settings,
)
from adasparse_cli.config.settings_source import arguments
from adasparse_cli.errors import UsageError
from adasparse_cli.models.base import NetworkSettings
from adasparse_cli.models.named import PACKAGED
from adasparse_cli.training.loops import LOOPS
from adasparse_cli.training.tracking import TrackingSettings
from adasparse_cli.typed import from_yaml

ROOT = Path(__file__).parents[2]
EVERY = [(group, name) for group in GROUPS for name in offered(group)]


def dataclass_of(group: str, section: dict[str, Any]) -> Any:
    if group == "model":
        return PACKAGED[section["name"]].Settings
    if group == "loop":
        return LOOPS[section["name"]].Settings
    if group == "launcher":
        return launchers.SETTINGS[section["name"]]
    if group == "data":
        return importlib.import_module(f"adasparse_cli.data_prep.{section['recipe']}").Settings
    return {"network": NetworkSettings, "tracking": TrackingSettings}[group]


def leaves(kind: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, hint in typing.get_type_hints(kind, include_extras=True).items():
        if dataclasses.is_dataclass(hint):
            yield from leaves(hint, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", hint


def inside(hint: Any) -> Iterator[Any]:
    """Every type and limit in an annotation."""
    yield hint
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    for part in parts:
        if typing.get_origin(part) or isinstance(part, (type, Between, PlainName, types.UnionType)):
            yield from inside(part)
    assert origin is None or parts


def require_said(setting: Setting, hint: Any) -> None:
    """Whatever the annotation allows or limits is in the words."""
    words = setting.kind.words
    simple = {int: "whole number", float: "number", bool: "true or false", str: "text", type(None): "null"}
    for part in inside(hint):
        if isinstance(part, (Between, PlainName)):
            assert str(part) in words, setting
        elif isinstance(part, type) and issubclass(part, StrEnum):
            assert all(member.value in words for member in part), setting
        elif part in simple and typing.get_origin(hint) is not collections.abc.Mapping:
            assert simple[part] in words, setting


@pytest.mark.parametrize(("group", "name"), EVERY, ids=lambda value: str(value))
def test_every_key_has_a_meaning_a_type_and_its_default(group: str, name: str) -> None:
    found = {one.key: one for one in group_settings(group, name)}
    section = compose("train", [f"{group}={name}"])[group]
    declared = {f"{group}.{key}": hint for key, hint in leaves(dataclass_of(group, section))}
    assert found.keys() == declared.keys()
    for key, setting in found.items():
        value: Any = section
        for part in key.split(".")[1:]:
            value = value[part]
        assert setting.default == value
        assert len(setting.meaning) > 10, setting
        assert setting.kind.type
        assert name in setting.of
        require_said(setting, declared[key])


def test_keys_of_no_section_are_known_too() -> None:
    tree = {**compose("prep", []), **compose("train", [])}
    declared = {**dict(leaves(TrainRoot)), **dict(leaves(PrepRoot))}
    found = {one.key: one for one in root_settings()}
    assert found.keys() == declared.keys()
    assert {key.split(".")[0] for key in found} == tree.keys() - set(GROUPS)
    for key, setting in found.items():
        value: Any = tree
        for part in key.split("."):
            value = value[part]
        assert setting.default == value
        assert len(setting.meaning) > 10
        require_said(setting, declared[key])
    # `prep` knows neither a device nor threads, and only `prep` knows an engine
    assert {key for key, one in found.items() if "train" in one.commands} == {
        key for key in found if key.split(".")[0] in compose("train", [])
    }
    assert {key for key, one in found.items() if "prep" in one.commands} == {
        key for key in found if key.split(".")[0] in compose("prep", [])
    }


def test_the_names_of_groups_are_those_that_hydra_finds() -> None:
    with composing():
        loader = GlobalHydra.instance().config_loader()
        for group in GROUPS:
            assert list(offered(group)) == sorted(name for name in loader.get_group_options(group) if name != "common")


def test_the_commands_that_take_settings_are_those_listed() -> None:
    root = get_command(app)
    found = set()
    for name, command in root.commands.items():  # type: ignore[attr-defined]
        for inner, one in getattr(command, "commands", {"": command}).items():
            if any(parameter.name == "overrides" for parameter in one.params):
                found.add(f"{name} {inner}".strip())
    # those that look at settings, or check a model, are left out
    assert found - {"config show", "config validate", "models check"} == {
        name for names in COMMANDS.values() for name in names
    }


def test_an_entry_may_name_several_and_a_line_may_hold_two() -> None:
    text = "What.\n\nArgs:\n    start, end: of it. rate: a: b.\n        More. left: no name.\n    last: one.\n\nSource: none."
    assert arguments(text, {"start", "end", "rate", "last"}) == {
        "start": "of it.",
        "end": "of it.",
        "rate": "a: b. More. left: no name.",
        "last": "one.",
    }
    assert arguments("What.", {"start"}) == {}


def test_a_persons_own_folder_is_explained_too(tmp_path: Path) -> None:
    for group, text in (
        ("model", "defaults: [star, _self_]\nauxiliary_hidden: [7]\n"),
        ("data", "recipe: my.reader\nname: x\n"),
    ):
        (tmp_path / group).mkdir()
        (tmp_path / group / "mine.yaml").write_text(text)
    with with_private_folder(tmp_path):
        assert "mine" in offered("model")
        (found,) = matching("model.auxiliary_hidden", {"model": "mine"})
        assert (found.default, found.of) == ([7], ("mine", "star"))
        assert {one.key for one in group_settings("model", "mine")} == {
            one.key for one in group_settings("model", "star")
        }
        assert compose("train", ["model=mine"])["model"]["auxiliary_hidden"] == [7]
        assert group_settings("data", "mine") == ()  # whose recipe is somebody else's module
        assert matching("data.rows", {})
    assert "mine" not in offered("model")


def test_keys_are_found_by_prefix_and_by_choice() -> None:
    assert [one.key for one in matching("model.sharpness.", {})] == [
        f"model.sharpness.{name}" for name in ("rule", "start", "end", "initial")
    ]
    assert [one.key for one in matching("model", {"model": "dnn"})] == ["model.name"]
    (rank,) = matching("model.rank", {})  # AdaSparse has none: the models that have it answer
    assert rank.of == ("apg",)
    assert len(matching("loop", {"loop": "maml"})) > len(matching("loop", {}))
    (label,) = matching("data.label", {"data": "tabular"})
    assert label.default == NO_DEFAULT


@pytest.mark.parametrize(
    ("key", "choices", "says", "hint"),
    [
        ("model.ranks", {}, "unknown setting model.ranks", "did you mean model.rank?"),
        ("loop.slect", {}, "unknown setting loop.slect", "did you mean loop.select?"),
        ("model.mode", {"model": "star"}, "unknown setting model.mode for model=star", "model=adasparse"),
        ("nothing", {}, "unknown setting nothing", "config show"),
    ],
)
def test_unknown_keys_name_the_nearest(key: str, choices: dict[str, str], says: str, hint: str) -> None:
    with pytest.raises(UsageError) as error:
        matching(key, choices)
    assert error.value.message == says
    assert hint in error.value.hint


@pytest.mark.parametrize(
    "words", [[], ["data=tabular"], ["model=star", "loop=maml"], ["data.roles={a: ignored}", "data=iaac-sample"]]
)
def test_values_with_comments_are_the_same_values(words: list[str]) -> None:
    tree = compose("train", words)
    text = commented_yaml(tree, comments_for(tree))
    assert from_yaml(text) == tree
    lines = text.splitlines()
    keys = [k for k, line in enumerate(lines) if ":" in line and not line.strip().startswith(("#", "-"))]
    bare = [lines[k] for k in keys if not (k and lines[k - 1].strip().startswith("#"))]
    # sections stand alone, and so do the keys of a value that is a mapping
    assert {line.split(":")[0] for line in bare} <= {
        *GROUPS,
        *(f"    {name}" for name in tree["data"].get("roles", ())),
    }


def test_a_module_of_somebody_else_has_no_comments() -> None:
    tree = {**compose("train", []), "data": {"recipe": "my_package.my_recipe", "name": "mine"}}
    assert not any(key.startswith("data.") for key in comments_for(tree))
    assert from_yaml(commented_yaml(tree, comments_for(tree))) == tree


def test_the_page_of_settings_is_up_to_date() -> None:
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == reference_page(), (
        "adasparse config reference > docs/settings.md"
    )
    page = reference_page()
    assert all(f"| `{one.key}` |" in page for one in settings())
    headings = [line for line in page.splitlines() if line.startswith("### ")]
    assert "### All data sets" in headings
    assert len(set(headings)) == len(headings)
    assert all(len(line) < 100 for line in headings)
