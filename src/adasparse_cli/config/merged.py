"""Composes packaged values and plain overrides without Hydra, as Hydra composes them.

Hydra takes a quarter of a second to load and a tenth of a second for each composition. Whatever is not plain is left to it:
unknown keys and names, files of the user's settings folder, values that need its grammar. A test compares both.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from adasparse_cli.config.packaged_sections import packaged_names, packaged_root, packaged_section
from adasparse_cli.config.plain_words import PlainWord, plain_word


class _NotPlainError(Exception):
    pass


def merged(root: str, words: Sequence[str], own: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """The values of a command; None if only Hydra can compose them or say what is wrong.

    Args:
        words: overrides; `++key=value` may add a key. own: values of custom models by name.
    """
    overrides = [plain_word(word) for word in words]
    try:
        return _merged(root, [one for one in overrides if one is not None], own) if None not in overrides else None
    except _NotPlainError:
        return None


def _merged(root: str, overrides: Sequence[PlainWord], own: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    group, slash, name = root.partition("/")
    if slash:
        if overrides:
            raise _NotPlainError
        return {group: copy.deepcopy(_section(group, name, own))}
    groups, values = packaged_root(root)
    chosen: dict[str, str] = {}
    for one in overrides:
        if one.key in groups:
            if one.forced or one.key in chosen or not isinstance(one.value, str):
                raise _NotPlainError
            chosen[one.key] = one.value
    sections = {group: _section(group, chosen.get(group, name), own) for group, name in groups.items()}
    tree: dict[str, Any] = copy.deepcopy({**sections, **values})
    for one in overrides:
        if one.key not in groups:
            _set(tree, one)
    return tree


def _section(group: str, name: str, own: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any]:
    if group == "model" and name in own:
        found: Mapping[str, Any] | None = own[name]
        if "defaults" in own[name]:
            raise _NotPlainError
    else:
        found = packaged_section(group, name) if name in packaged_names(group) else None
    if found is None or not _is_plain(found):
        raise _NotPlainError
    return found


def _is_plain(value: Any) -> bool:
    """Whether Hydra would return a value as it is: nothing refers to another value, and every key is a text."""
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return value is None or (isinstance(value, (bool, int, float, str)) and "${" not in str(value))


def _set(tree: dict[str, Any], one: PlainWord) -> None:
    *parents, last = one.key.split(".")
    place = tree
    for part in parents:
        if part not in place and one.forced:
            place[part] = {}
        below = place.get(part)
        if not isinstance(below, dict):
            raise _NotPlainError
        place = below
    if last not in place and not one.forced:
        raise _NotPlainError
    place[last] = _over(place.get(last), one.value)


def _over(below: Any, value: Any) -> Any:
    """A value over another one; mappings are merged."""
    if isinstance(below, dict) and isinstance(value, dict):
        return {**below, **{key: _over(below.get(key), item) for key, item in value.items()}}
    if isinstance(below, dict) or (isinstance(below, list) and isinstance(value, dict)):
        raise _NotPlainError
    return copy.deepcopy(value)
