"""Values as a user types them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any


def word(key: str, value: Any) -> str:
    """A setting as it is typed, without quotes for the shell."""
    return f"{key}={spelled(value)}"


def leaves(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in values.items():
        if (
            isinstance(value, dict)
            and value
            and all(re.fullmatch(r"[A-Za-z_]\w*", str(name), re.ASCII) for name in value)
        ):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def spelled(value: Any) -> str:
    """A value in the grammar of overrides."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ",".join(spelled(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{_spelled_key(key)}:{spelled(item)}" for key, item in value.items()) + "}"
    if isinstance(value, str):
        bare = re.fullmatch(r"[A-Za-z_/][\w./-]*", value, re.ASCII)
        if bare and value.lower() not in ("null", "true", "false", "nan", "inf"):
            return value
        # a backslash is literal unless a quote follows
        quoted = re.sub(r'(\\*)("|$)', lambda found: 2 * found[1] + (found[2] and '\\"'), value)
        return f'"{quoted}"'
    return str(value)


def _spelled_key(key: str) -> str:
    """A key of a mapping; the grammar has no quotes for keys."""
    return re.sub(r"([\\()\[\]{}:=, \t])", r"\\\1", str(key))
