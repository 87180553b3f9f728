"""Conversion of plain values to frozen dataclasses, YAML text, and mappings with dotted keys. Floor 0.

`typed` converts a section of settings to its dataclass and reports all errors in it at once.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import types
import typing
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import yaml

from adasparse_cli.choices import Between, PlainName, nearest
from adasparse_cli.errors import IntegrityError, UsageError

T = TypeVar("T")
# Largest nesting depth of a settings file; the packaged ones have four.
DEEPEST = 20


def typed(section: Mapping[str, Any], cls: type[T], where: str) -> T:
    """A section of a tree as a frozen dataclass.

    Raises:
        UsageError: keys are unknown or missing, values are of the wrong type or out of range; all at once.
    """
    faults: list[str] = []
    value = _read(section, cls, where, faults)
    if faults:
        more = f" (and {len(faults) - 1} more: {'; '.join(faults[1:])})" if len(faults) > 1 else ""
        hint = f"adasparse config show prints every key of {where.split('.')[0]}"
        raise UsageError(faults[0] + more, hint=hint, parts=[(fault, hint) for fault in faults])
    return typing.cast("T", value)


def require_types(values: Any, kind: Any, path: Path | str, *, hint: str) -> None:
    """Check the values of a JSON file against their declared types: dataclasses, `TypedDict`s, unions.

    Undeclared keys are ignored.

    Raises:
        IntegrityError: a value has another type, or a key is missing; the message names the file and the key.
    """
    fault = _wrong(values, kind, "")
    if fault is not None:
        raise IntegrityError(f"{path} is damaged: {fault}", hint=hint)


def _wrong(value: Any, kind: Any, where: str) -> str | None:
    """The first place where a value does not have the type, and the type that it has there."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    fault = f"{where or 'the whole'} is {value!r:.80}"
    if origin in (typing.Union, types.UnionType):
        found = [_wrong(value, one, where) for one in arguments]
        return None if None in found else found[0]
    inside: list[tuple[Any, Any, str]] = []
    if dataclasses.is_dataclass(kind) or typing.is_typeddict(kind):
        if not isinstance(value, Mapping):
            return fault
        if missing := sorted(_required(kind) - value.keys()):
            return f"{where}{'.' * bool(where)}{missing[0]} is missing"
        inside = [(value[name], own, name) for name, own in _types_of(kind).items() if name in value]
    elif origin in (dict, Mapping):
        if not isinstance(value, Mapping):
            return fault
        inside = [(item, arguments[1], str(key)) for key, item in value.items()]
    elif origin in (list, tuple, Sequence):
        if not isinstance(value, (list, tuple)):
            return fault
        inside = [(item, arguments[0], str(k)) for k, item in enumerate(value)]
    elif kind is Any:
        return None
    elif origin is typing.Literal:
        return None if value in arguments else fault
    elif isinstance(kind, type) and issubclass(kind, StrEnum):
        return None if value in list(kind) else fault
    elif kind is float:
        return None if isinstance(value, (int, float)) and not isinstance(value, bool) else fault
    else:
        return None if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)) else fault
    found = [_wrong(item, own, f"{where}.{name}" if where else name) for item, own, name in inside]
    return next((one for one in found if one is not None), None)


@functools.cache
def _types_of(kind: Any) -> Mapping[str, Any]:
    """The declared types of a dataclass or `TypedDict`, cached: a list of runs needs them hundreds of times."""
    return typing.get_type_hints(kind)


@functools.cache
def _annotations_of(kind: Any) -> Mapping[str, Any]:
    """The annotations of a dataclass with their limits."""
    return typing.get_type_hints(kind, include_extras=True)


@functools.cache
def _required(kind: Any) -> frozenset[str]:
    """The required keys."""
    if typing.is_typeddict(kind):
        return frozenset(kind.__required_keys__)
    fields = dataclasses.fields(kind)
    defaults = (dataclasses.MISSING, dataclasses.MISSING)
    return frozenset(field.name for field in fields if (field.default, field.default_factory) == defaults)


def plain(value: Any) -> Any:
    """The inverse of `typed`: dataclasses, enums, tuples and paths as dicts, strings and lists."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as one mapping with dotted keys."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found


def to_yaml(tree: Mapping[str, Any]) -> str:
    """Values as YAML text, keys in their order."""
    return str(yaml.safe_dump(plain(tree), sort_keys=False, allow_unicode=True))


def from_yaml(text: str) -> dict[str, Any]:
    """The inverse of `to_yaml`.

    Raises:
        ValueError: the text is not YAML of plain keys and values: it has tags, aliases, or deep nesting.
    """
    try:
        values = yaml.load(text, _PlainLoader)
    except yaml.YAMLError as error:
        raise ValueError(f"it is not YAML: {error}") from None
    if not isinstance(values, dict):
        raise ValueError("it has no keys")
    return values


def without_passwords(text: str) -> str:
    """A text in which user and password of each address, for example `http://user:password@host`, are replaced by stars."""
    return re.sub(r"(?<=://)[^/\s'\"]+@", "***@", text)


class _PlainLoader(yaml.SafeLoader):
    """YAML without features that settings do not need and attacks use: tags, aliases (a few lines expand to gigabytes), deep nesting."""

    _depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "tag", None) is not None:
            what = "an alias (*name)" if isinstance(event, yaml.AliasEvent) else f"the tag {str(event.tag)[:80]}"
            raise yaml.composer.ComposerError(None, None, f"{what} is not allowed in settings", event.start_mark)
        self._depth += 1
        if self._depth > DEEPEST:
            raise yaml.composer.ComposerError(None, None, f"nested deeper than {DEEPEST} levels", event.start_mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def _read(value: Any, kind: Any, where: str, faults: list[str]) -> Any:
    """Convert `value` to `kind`; errors are added to `faults`."""
    if value == "???":
        faults.append(f"{where} has no value: give {where}=…")
        return None
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        result = _read(value, arguments[0], where, faults)
        for limit in arguments[1:]:
            known = isinstance(result, (int, float) if isinstance(limit, Between) else str)
            if isinstance(limit, (Between, PlainName)) and known and not limit.holds(result):
                faults.append(f"{where}={value} must be {limit}")
        return result
    if origin in (typing.Union, types.UnionType):
        return _read_union(value, arguments, where, faults)
    if dataclasses.is_dataclass(kind):
        return _read_dataclass(value, kind, where, faults)
    if origin is tuple:
        return _read_tuple(value, arguments, where, faults)
    if origin in (dict, Mapping):
        if not isinstance(value, Mapping):
            faults.append(f"{where}={value} must be keys and values, {{key: value}}")
            return None
        return {str(key): _read(item, arguments[1], f"{where}.{key}", faults) for key, item in value.items()}
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return _read_choice(value, kind, where, faults)
    return _read_simple(value, kind, where, faults)


def _read_union(value: Any, kinds: tuple[Any, ...], where: str, faults: list[str]) -> Any:
    if value is None and type(None) in kinds:
        return None
    tried: list[list[str]] = []
    for kind in kinds:
        if kind is type(None):
            continue
        own: list[str] = []
        result = _read(value, kind, where, own)
        if not own:
            return result
        tried.append(own)
    faults += tried[0] if tried else [f"{where}={value} must be null"]
    return None


def _read_dataclass(value: Any, kind: Any, where: str, faults: list[str]) -> Any:
    if not isinstance(value, Mapping):
        faults.append(f"{where}={value} must be keys and values")
        return None
    hints = _annotations_of(kind)
    names = [field.name for field in dataclasses.fields(kind)]
    for key in value:
        if key not in names:
            close = nearest(str(key), names)
            faults.append(f"unknown setting {where}.{key}" + (f": did you mean {where}.{close}?" if close else ""))
    before = len(faults)
    read = {}
    for name in names:
        if name in value:
            read[name] = _read(value[name], hints[name], f"{where}.{name}", faults)
        else:
            faults.append(f"{where}.{name} is missing")
    return kind(**read) if len(faults) == before else None


def _read_tuple(value: Any, kinds: tuple[Any, ...], where: str, faults: list[str]) -> Any:
    if not isinstance(value, (list, tuple)):
        faults.append(f"{where}={value} must be a list, [a,b]")
        return None
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    elif len(value) != len(kinds):
        faults.append(f"{where}={list(value)} must have {len(kinds)} entries")
        return None
    return tuple(
        _read(item, kind, f"{where}[{k}]", faults) for k, (item, kind) in enumerate(zip(value, kinds, strict=True))
    )


def _read_choice(value: Any, kind: type[StrEnum], where: str, faults: list[str]) -> Any:
    offered = [member.value for member in kind]
    if value in offered:
        return kind(value)
    close = nearest(str(value), offered)
    faults.append(
        f"{where}={value} must be one of {', '.join(offered)}" + (f": did you mean {close}?" if close else "")
    )
    return None


def _read_simple(value: Any, kind: Any, where: str, faults: list[str]) -> Any:
    fits = {
        bool: isinstance(value, bool),
        int: isinstance(value, int) and not isinstance(value, bool),
        float: isinstance(value, (int, float)) and not isinstance(value, bool),
        str: isinstance(value, (str, int, float)) and not isinstance(value, bool),
    }
    if kind is Any:
        return value
    if not fits.get(kind, isinstance(value, kind)):
        words = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
        faults.append(f"{where}={value} must be {words.get(kind, kind.__name__)}")
        return None
    return kind(value) if kind in (float, str) else value
