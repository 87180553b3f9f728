"""What to type to name prepared data in another command."""

from __future__ import annotations

import shlex

from adasparse_cli.config.packaged_sections import data_start, offered
from adasparse_cli.config.spelling import word
from adasparse_cli.schema import Manifest


def words_for(manifest: Manifest) -> str:
    """What to type to name these data in another command, where they lie prepared: they keep their settings."""
    return shlex.join(shortest_words(manifest.name, manifest.recipe))


def shortest_words(name: str, recipe: str) -> list[str]:
    """`data=NAME`, which chooses prepared data unless a packaged data set has this name."""
    return words_of(name, recipe) if name in offered("data") else [word("data", name)]


def words_of(name: str, recipe: str) -> list[str]:
    """What chooses data of a name and a recipe, whether or not they are prepared."""
    start = data_start(name, recipe)
    return [
        f"data={start}",
        *([word("data.recipe", recipe)] if start == "common" else []),
        *([word("data.name", name)] if start != name else []),
    ]
