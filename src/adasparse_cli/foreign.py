"""Imports of modules outside this package. An import runs code, so the name is printed first, and all can be refused.

The command line sets the rule for its process, because settings that name a module come from many places: overrides,
settings files, manifests of prepared data, configurations of runs. Imports nothing large: `app` imports it at its start.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from types import ModuleType

from adasparse_cli.errors import UsageError

OURS, MODELS_GROUP = "adasparse_cli.data_prep", "adasparse.models"


class ForeignModuleError(UsageError):
    """A module outside this package cannot be used."""


class RefusedModuleError(ForeignModuleError):
    """A module outside this package is named, and `--no-modules` was given."""


@dataclass(frozen=True)
class Rule:
    """The rule for modules outside this package: whether they may be imported, and the function that reports their names first."""

    allowed: bool = True
    tell: Callable[[str], None] = lambda line: None


_rule = Rule()
_imported: dict[str, str] = {}  # imported modules outside this package, with their files


@contextlib.contextmanager
def rule_of_modules(rule: Rule) -> Iterator[None]:
    """Set the rule for this process."""
    global _rule
    before, _rule = _rule, rule
    try:
        yield
    finally:
        _rule = before


def import_recipe(name: str) -> ModuleType:
    """The module of a recipe: `iaac` is part of this package, `my_package.my_recipe` is custom.

    Raises:
        UsageError: the name is not a valid module name, modules are refused, or the module cannot be imported.
    """
    use = "use iaac, twin or tabular"
    _require_name(name, f"data.recipe={name[:80]}", f"{use}, or the dotted name of an importable module")
    ours = "." not in name or name.startswith(f"{OURS}.")
    if not ours:
        return import_foreign(name, f"data.recipe={name}", hint=use)
    full = f"{OURS}.{name}" if "." not in name else name
    try:
        return importlib.import_module(full)
    except ModuleNotFoundError as error:
        if error.name is not None and (full == error.name or full.startswith(f"{error.name}.")):
            raise UsageError(
                f"data.recipe={name}: unknown module {full}",
                hint=f"{use}, or install the module that holds your recipe",
            ) from None
        raise


@dataclass(frozen=True)
class ForeignModel:
    """A custom model: a class in an importable module."""

    module: str
    attribute: str


def foreign_model(name: str) -> ForeignModel | None:
    """The meaning of `model=NAME` for a model that is not packaged: `my_package.my_model:MyModel`, or the name of an entry point.

    Nothing is imported. Entry points are in the group `adasparse.models`, which an installed package may define.
    """
    module, colon, attribute = name.partition(":")
    if not colon:
        found = next(iter(entry_points(group=MODELS_GROUP, name=name)), None)
        if found is None:
            return None
        module, _, attribute = found.value.partition(":")
    return ForeignModel(module.strip(), attribute.strip())


def import_model(name: str, model: ForeignModel) -> ModuleType:
    """The module of a custom model.

    Raises:
        UsageError: the name is not a valid module name, modules are refused, or the module cannot be imported.
    """
    key = f"model={name}"
    for text in (model.module, model.attribute):
        _require_name(text, key, "such as model=my_package.my_model:MyModel")
    return import_foreign(model.module, key, hint="name an importable module, my_package.my_model:MyModel")


def import_foreign(name: str, key: str, *, hint: str) -> ModuleType:
    """Import a module outside this package.

    Args:
        key: the setting that names it, with its value.

    Raises:
        UsageError: it is a module of Python itself, modules are refused, it does not exist, or its import fails.
    """
    if name.split(".")[0] in sys.stdlib_module_names:
        raise ForeignModuleError(f"{key}: a module of Python itself cannot be meant", hint=hint)
    if not _rule.allowed:
        raise RefusedModuleError(
            f"{key} names a module that is not part of adasparse, and --no-modules refuses it",
            hint="read the module; without --no-modules it is imported, which runs its code",
        )
    if name not in sys.modules:
        _rule.tell(f"{key}: importing {name}, which is not part of adasparse, runs its code")
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise ForeignModuleError(
                f"{key}: unknown module {name}",
                hint=f"{hint}; the current folder is not searched: install the package, or set PYTHONPATH",
            ) from None
        raise ForeignModuleError(
            f"{key}: the module needs {error.name}, which is not installed", hint="install what it imports"
        ) from error
    except Exception as error:
        raise ForeignModuleError(
            f"{key}: the module fails while it is imported: {type(error).__name__}: {error}",
            hint=f"python -c 'import {name}' shows where",
        ) from error
    _imported[name] = module.__file__ or name
    return module


def imported_files() -> Mapping[str, str]:
    """The imported modules outside this package, with their files."""
    return _imported


def _require_name(name: str, key: str, hint: str) -> None:
    if not all(part.isidentifier() and part.isascii() for part in name.split(".")):
        raise UsageError(f"{key}: {name[:80]!r} is not the name of a module", hint=hint)
