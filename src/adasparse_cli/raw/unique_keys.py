"""JSON whose objects name each key once. JSON allows repeated keys, and Python's reader would silently keep the last value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class RepeatedKeyError(ValueError):
    """An object has a key twice; `key` is the key."""

    def __init__(self, key: str) -> None:
        super().__init__(f"an object has the key {key!r} twice")
        self.key = key


def unique_keys(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """An object from its pairs, as `object_pairs_hook` of `json.loads`.

    Raises:
        RepeatedKeyError: a key is repeated.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        raise RepeatedKeyError(repeated([key for key, _ in pairs]) or "")
    return found


def repeated(names: Sequence[str]) -> str | None:
    """The first name that occurs more than once; None if there is none."""
    return next((name for name in names if names.count(name) > 1), None)
