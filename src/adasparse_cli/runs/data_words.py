"""Settings that select prepared data on a command line."""

from __future__ import annotations

import shlex

from adasparse_cli.config.packaged_sections import data_start, offered
from adasparse_cli.config.spelling import word
from adasparse_cli.schema import Manifest


def words_for(manifest: Manifest) -> str:
    """The settings that select these prepared data in another command, quoted for a shell."""
    return shlex.join(shortest_words(manifest.name, manifest.recipe))


def shortest_words(name: str, recipe: str) -> list[str]:
    """`data=NAME` if it selects the prepared data, else `words_of`: a packaged data set may have the same name."""
    return words_of(name, recipe) if name in offered("data") else [word("data", name)]


def words_of(name: str, recipe: str) -> list[str]:
    """The settings that select data of a name and a recipe, prepared or not."""
    start = data_start(name, recipe)
    return [
        f"data={start}",
        *([word("data.recipe", recipe)] if start == "common" else []),
        *([word("data.name", name)] if start != name else []),
    ]
