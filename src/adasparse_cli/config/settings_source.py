"""Reads settings from the source of the dataclasses that define them, without importing these.

The annotations of a `Settings` dataclass have the type and the range of each value; the `Args:` section of its docstring
has the meaning. Most of these modules import torch, which takes seconds; parsing their text takes milliseconds.
A test compares the result with the imported dataclasses.
"""

from __future__ import annotations

import ast
import functools
import importlib
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from adasparse_cli import choices

PACKAGE = "adasparse_cli"
_SIMPLE = {"int": "whole number", "float": "number", "bool": "true or false", "str": "text", "Any": "any value"}
_PLURAL = {"whole number": "whole numbers", "number": "numbers", "text": "texts", "one word": "words"}


@dataclass(frozen=True, kw_only=True)
class Kind:
    """The values that a setting accepts.

    Args:
        type: as text, for example `list of numbers`.
        valid: the range, or the closed set of values; empty if every value of the type is valid.
        values: the values of a closed set, as typed; for a number, the words that are also accepted.
        nested: the dataclass of a section, as (module, class); None for a value.
    """

    type: str
    valid: str = ""
    values: tuple[str, ...] = ()
    nested: tuple[str, str] | None = None

    @property
    def words(self) -> str:
        """Type and range in one phrase."""
        return self.valid if self.type == "one word" else ", ".join(filter(None, (self.type, self.valid)))


@dataclass(frozen=True, kw_only=True)
class SourceField:
    """A field of a settings dataclass.

    Args:
        key: its name below the section, for example `pruner.rank`.
        meaning: its `Args:` entry; empty if there is none.
        owner: module and class that define it.
    """

    key: str
    meaning: str
    kind: Kind
    owner: tuple[str, str]


def settings_class(module: str) -> tuple[str, str]:
    """The settings dataclass of a module: `Settings`, defined there or imported, or the value of `Settings` in a class.

    Raises:
        LookupError: the module has none.
    """
    own = _Module.read(module)
    place = own.place(ast.Name("Settings"))
    if place is not None:
        return place
    found = [place for name in own.classes if (place := _named_settings((module, name))) is not None]
    if not found:
        raise LookupError(f"{module} has no Settings")
    return found[-1]


def settings_of_class(place: tuple[str, str]) -> tuple[str, str]:
    """The settings dataclass of a class, given as module and name.

    Raises:
        LookupError: it has none, or the module is neither of this package nor imported.
    """
    found = _named_settings(place)
    if found is None:
        raise LookupError(f"{'.'.join(place)} has no Settings")
    return found


def imported_settings(module: str) -> Any:
    """The settings dataclass of a module, without importing that module if another one defines the dataclass.

    Raises:
        LookupError: the module has none.
    """
    place, name = settings_class(module)
    return getattr(importlib.import_module(place), name)


def names_in(module: str) -> frozenset[str]:
    """The functions, classes and constants that a module of this package defines or imports.

    Raises:
        FileNotFoundError: there is no such module.
    """
    own = _Module.read(module)
    functions = {node.name for node in own.tree.body if isinstance(node, ast.FunctionDef)}
    return frozenset({*functions, *own.classes, *own.constants, *own.imported})


@functools.cache
def source_fields(place: tuple[str, str]) -> tuple[SourceField, ...]:
    """Every value of a settings dataclass; values of nested dataclasses have dotted keys."""
    found: list[SourceField] = []
    for field in _own_fields(place):
        if field.kind.nested is None:
            found.append(field)
        else:
            found += [
                SourceField(key=f"{field.key}.{one.key}", meaning=one.meaning, kind=one.kind, owner=one.owner)
                for one in source_fields(field.kind.nested)
            ]
    return tuple(found)


@functools.cache
def sections_inside(place: tuple[str, str]) -> Mapping[str, str]:
    """The meaning of each nested dataclass of a settings dataclass, by its dotted key."""
    found: dict[str, str] = {}
    for field in _own_fields(place):
        if field.kind.nested is not None:
            module, name = field.kind.nested
            first = (ast.get_docstring(_Module.read(module).classes[name]) or "").split("\n\n")[0]
            found[field.key] = field.meaning or " ".join(first.split())
            found |= {f"{field.key}.{key}": text for key, text in sections_inside(field.kind.nested).items()}
    return found


def docstring_of(module: str) -> str:
    """The docstring of a module of this package, without importing it."""
    return ast.get_docstring(_Module.read(module).tree) or ""


def class_docstring(place: tuple[str, str]) -> str:
    """The docstring of a class of this package, given as module and name, without importing it."""
    return ast.get_docstring(_Module.read(place[0]).classes[place[1]]) or ""


def arguments(docstring: str, names: set[str]) -> dict[str, str]:
    """The `Args:` section of a docstring: the meaning of each name, on one line.

    Several names may share an entry (`start, end: …`) or a line (`a: …. b: …`).
    """
    section = re.search(r"^Args:\n((?:[ ]{4}.*\n?|\n)*)", docstring, re.MULTILINE)
    if section is None:
        return {}
    found: dict[str, str] = {}
    for entry in re.split(r"\n(?=    \S)", section[1].rstrip()):
        text = " ".join(entry.split())
        heads = [
            head for head in re.finditer(r"(?:^|(?<=\. ))((?:\w+, )*\w+): ", text) if set(head[1].split(", ")) <= names
        ]
        ends = [*(head.start() for head in heads[1:]), len(text)]
        for head, end in zip(heads, ends, strict=True):
            found |= dict.fromkeys(head[1].split(", "), text[head.end() : end].strip())
    return found


@dataclass(frozen=True)
class _Module:
    """The syntax tree of a module, its classes, its constants, and the origin of its imported names."""

    name: str
    tree: ast.Module
    classes: Mapping[str, ast.ClassDef]
    imported: Mapping[str, tuple[str, str]]
    constants: Mapping[str, ast.expr]

    @staticmethod
    @functools.cache
    def read(name: str) -> _Module:
        path = _path_of(name)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imported: dict[str, tuple[str, str]] = {}
        constants: dict[str, ast.expr] = {}
        for node in tree.body:
            if isinstance(node, ast.ImportFrom):
                imported |= {alias.asname or alias.name: (node.module or "", alias.name) for alias in node.names}
            constants |= dict(_assigned(node))
        classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
        return _Module(name, tree, classes, imported, constants)

    def place(self, node: ast.expr) -> tuple[str, str] | None:
        """The module and class of a name; None if this package has no such class."""
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):  # `iaac.Settings`
            package, name = self.imported.get(node.value.id, ("", ""))
            return _defined((f"{package}.{name}", node.attr)) if package.startswith(PACKAGE) else None
        if not isinstance(node, ast.Name):
            return None
        if node.id in self.classes:
            return self.name, node.id
        module, name = self.imported.get(node.id, ("", ""))
        return _defined((module, name)) if module.startswith(f"{PACKAGE}.") else None


def _path_of(name: str) -> Traversable:
    """The source of a module of this package, or of another module that has been imported."""
    package, *parts = name.split(".")
    if package != PACKAGE:
        path = getattr(sys.modules.get(name), "__file__", None)
        if path is None:
            raise LookupError(f"{name} is not imported")
        return Path(path)
    # of the folders in the project's root, only this one is a separate package
    root = files(f"{PACKAGE}.data_prep") if parts[0] == "data_prep" else files(PACKAGE)
    return root.joinpath(*parts[parts[0] == "data_prep" : -1], f"{parts[-1]}.py")


def _defined(place: tuple[str, str]) -> tuple[str, str]:
    """The place where a class is defined, if a module only imports it from there."""
    module = _Module.read(place[0])
    further = module.imported.get(place[1])
    return place if place[1] in module.classes or further is None else _defined(further)


def _assigned(node: ast.stmt) -> Iterator[tuple[str, ast.expr]]:
    """The names and the value of an assignment."""
    if not isinstance(node, (ast.Assign, ast.AnnAssign)) or node.value is None:
        return
    for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
        several = isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple)
        names = target.elts if isinstance(target, ast.Tuple) else [target]
        values = node.value.elts if several and isinstance(node.value, ast.Tuple) else [node.value]
        yield from ((one.id, value) for one, value in zip(names, values, strict=False) if isinstance(one, ast.Name))


def _named_settings(place: tuple[str, str]) -> tuple[str, str] | None:
    """The value of `Settings = …` in a class or its base classes."""
    module = _Module.read(place[0])
    node = module.classes.get(place[1])
    if node is None:
        return None
    for line in node.body:
        for name, value in _assigned(line):
            if name == "Settings":
                return module.place(value)
    bases = (module.place(base) for base in node.bases)
    return next((found for base in bases if base and (found := _named_settings(base)) is not None), None)


@functools.cache
def _own_fields(place: tuple[str, str]) -> tuple[SourceField, ...]:
    """The fields of a dataclass, inherited ones first; nested dataclasses are not expanded."""
    module, node = _Module.read(place[0]), _Module.read(place[0]).classes[place[1]]
    found: dict[str, SourceField] = {}
    for base in node.bases:
        where = module.place(base)
        if where is not None:
            found |= {field.key: field for field in _own_fields(where)}
    lines = [line for line in node.body if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)]
    names = [line.target.id for line in lines if isinstance(line.target, ast.Name)]
    meanings = arguments(ast.get_docstring(node) or "", {*names, *found})
    for name, line in zip(names, lines, strict=True):
        kind = _kind(line.annotation, module)
        found[name] = SourceField(key=name, meaning=meanings.get(name, ""), kind=kind, owner=place)
    return tuple(found.values())


def _kind(node: ast.expr, module: _Module) -> Kind:
    """An annotation as text."""
    if isinstance(node, ast.BinOp):
        return _either([_kind(node.left, module), _kind(node.right, module)])
    if isinstance(node, ast.Constant) and node.value is None:
        return Kind(type="null", values=("null",))
    if isinstance(node, ast.Subscript):
        return _subscript_kind(node, module)
    if isinstance(node, ast.Name):
        if node.id in _SIMPLE:
            return Kind(type=_SIMPLE[node.id], values=("true", "false") if node.id == "bool" else ())
        choice = getattr(choices, node.id, None)
        if isinstance(choice, type) and issubclass(choice, StrEnum):
            values = tuple(member.value for member in choice)
            return Kind(
                type="one word", valid="one of " + ", ".join(values) if len(values) > 1 else values[0], values=values
            )
        place = module.place(node)
        if place is not None:
            return Kind(type="section", nested=place)
    return Kind(type=ast.unparse(node))


def _subscript_kind(node: ast.Subscript, module: _Module) -> Kind:
    """`Annotated[…]`, `tuple[…]` and mappings as text."""
    outer = ast.unparse(node.value)
    inner = list(node.slice.elts) if isinstance(node.slice, ast.Tuple) else [node.slice]
    first = _kind(inner[0], module)
    if outer == "Annotated":
        limits = [first.valid, *(str(limit) for one in inner[1:] if (limit := _limit(one, module)) is not None)]
        return Kind(type=first.type, valid=", ".join(filter(None, limits)), values=first.values)
    if outer == "tuple":
        endless = len(inner) == 2 and isinstance(inner[1], ast.Constant) and inner[1].value is Ellipsis
        number = "" if endless else f"{len(inner)} "
        each = f"each {first.valid}" if first.valid else ""
        return Kind(type=f"list of {number}{_PLURAL.get(first.type, first.type)}", valid=each)
    value = _kind(inner[-1], module)
    return Kind(type="{key: value}", valid=f"each value {value.valid or value.type}")


def _limit(node: ast.expr, module: _Module) -> Any:
    """The limit in `Between(0, 1)` and similar; it may be a constant of the module."""
    if isinstance(node, ast.Name) and node.id in module.imported:
        module, node = _Module.read(module.imported[node.id][0]), ast.Name(module.imported[node.id][1])
    if isinstance(node, ast.Name):
        node = module.constants[node.id]
    limit = {"Between": choices.Between, "PlainName": choices.PlainName}.get(
        ast.unparse(node.func) if isinstance(node, ast.Call) else ""
    )
    if limit is None or not isinstance(node, ast.Call):
        return None
    return limit(*map(_number, node.args), **{one.arg or "": _number(one.value) for one in node.keywords})


def _number(node: ast.expr) -> Any:
    """A literal, or a power of two literals, for example `10**9`."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        return _number(node.left) ** _number(node.right)
    return ast.literal_eval(node)


def _either(kinds: list[Kind]) -> Kind:
    first, second = kinds
    if second.type == "null":
        return Kind(type=f"{first.type} or null", valid=first.valid, values=(*first.values, "null"))
    valid = " or ".join(dict.fromkeys(kind.valid.removeprefix("one of ") for kind in kinds if kind.valid))
    types = " or ".join(dict.fromkeys(kind.type for kind in kinds))
    return Kind(type=types, valid=valid, values=first.values + second.values)
