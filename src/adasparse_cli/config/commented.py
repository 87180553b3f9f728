"""Values as YAML, with a comment above each key that explains it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from adasparse_cli.typed import to_yaml

WIDTH = 110


def commented_yaml(tree: Mapping[str, Any], comments: Mapping[str, str]) -> str:
    """The YAML of `typed.to_yaml` with comments.

    Args:
        comments: by dotted key; a key without a comment is written alone. A mapping with a comment, and none for its keys, is a value.
    """
    return "".join(_lines(tree, comments, "", 0))


def _lines(tree: Mapping[str, Any], comments: Mapping[str, str], prefix: str, depth: int) -> Iterator[str]:
    indent = "  " * depth
    for key, value in tree.items():
        path = f"{prefix}{key}"
        if path in comments:
            margin = f"{indent}# "
            yield textwrap.fill(
                " ".join(comments[path].split()),
                width=WIDTH,
                initial_indent=margin,
                subsequent_indent=margin,
                break_long_words=False,
                break_on_hyphens=False,
            ) + "\n"  # fmt: skip
        inside = isinstance(value, Mapping) and any(name.startswith(f"{path}.") for name in comments)
        if inside:
            yield textwrap.indent(to_yaml({key: {}}).replace(" {}", ""), indent)
            yield from _lines(value, comments, f"{path}.", depth + 1)
        else:
            yield textwrap.indent(to_yaml({key: value}), indent)
