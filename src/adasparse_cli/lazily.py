"""Classes by name that are imported when they are used, because importing a model or a loop loads torch. Floor 0."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

T = TypeVar("T")


class LazyClasses(Mapping[str, type[T]]):
    """Classes by name, each given as `module:Class`.

    Args:
        package: prefix of the modules.
    """

    def __init__(self, package: str, places: Mapping[str, str]) -> None:
        self._package, self._places = package, places

    def __getitem__(self, name: str) -> type[T]:
        module, attribute = self.place(name)
        found: type[T] = getattr(importlib.import_module(module), attribute)
        return found

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def with_others(self, others: LazyClasses[Any]) -> LazyClasses[T]:
        """These classes, and others of the same package."""
        return LazyClasses(self._package, {**self._places, **others._places})

    def place(self, name: str) -> tuple[str, str]:
        """Module and name of a class, which is not imported."""
        module, _, attribute = self._places[name].partition(":")
        return f"{self._package}.{module}", attribute
