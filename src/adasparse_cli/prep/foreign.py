"""Modules that are not part of adasparse: importing one runs its code, so each is named first, and all can be refused.

The command line sets the rule for its whole process, since settings that name a module come from many places: words,
files of settings, manifests of prepared data, configurations of runs. Imports nothing heavy: `app` does so at its start.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType

from adasparse_cli.errors import UsageError

OURS = "adasparse_cli.data_prep"


class RefusedModuleError(UsageError):
    """A module that is not ours is named, and `--no-modules` was given."""


@dataclass(frozen=True)
class Rule:
    """What holds for modules that are not ours: whether they may be imported, and what receives their names before."""

    allowed: bool = True
    tell: Callable[[str], None] = lambda line: None


_rule = Rule()


@contextlib.contextmanager
def rule_of_modules(rule: Rule) -> Iterator[None]:
    """Hold a rule for this process."""
    global _rule
    before, _rule = _rule, rule
    try:
        yield
    finally:
        _rule = before


def import_recipe(name: str) -> ModuleType:
    """The module of a recipe: `iaac` is one of ours, `my_package.my_recipe` is anyone's.

    Raises:
        UsageError: the name cannot be a module, modules are refused, or the module cannot be imported.
    """
    parts = name.split(".")
    if not all(part.isidentifier() and part.isascii() for part in parts):
        raise UsageError(
            f"data.recipe={name[:80]!r} is not the name of a module",
            hint="use iaac, twin or tabular, or the dotted name of an importable module, such as my_package.my_recipe",
        )
    ours = len(parts) == 1 or name.startswith(f"{OURS}.")
    full = f"{OURS}.{name}" if len(parts) == 1 else name
    if not ours:
        _require_allowed(name, parts[0])
    try:
        return importlib.import_module(full)
    except ModuleNotFoundError as error:
        if error.name is not None and (full == error.name or full.startswith(f"{error.name}.")):
            raise UsageError(
                f"data.recipe={name}: there is no module {full}",
                hint="use iaac, twin or tabular, or install the module that holds your recipe",
            ) from None
        if ours:
            raise
        raise UsageError(
            f"data.recipe={name}: the module needs {error.name}, which is not installed",
            hint="install what your recipe imports",
        ) from error
    except Exception as error:
        if ours:
            raise
        raise UsageError(
            f"data.recipe={name}: the module fails while it is imported: {type(error).__name__}: {error}",
            hint=f"python -c 'import {name}' shows where",
        ) from error


def _require_allowed(name: str, package: str) -> None:
    if package in sys.stdlib_module_names:
        raise UsageError(
            f"data.recipe={name}: a module of Python itself is not a recipe", hint="use iaac, twin or tabular"
        )
    if not _rule.allowed:
        raise RefusedModuleError(
            f"data.recipe={name} names a module that is not part of adasparse, and --no-modules refuses it",
            hint="read the module; without --no-modules it is imported, which runs its code",
        )
    if name not in sys.modules:
        _rule.tell(f"data.recipe={name}: importing this module, which is not part of adasparse, runs its code")
