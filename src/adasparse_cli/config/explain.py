"""Explains errors in overrides that Hydra rejects."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from hydra import compose as hydra_compose
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from adasparse_cli.config.packaged import choices_in, composing
from adasparse_cli.config.unknown import unknown_choice, unknown_key
from adasparse_cli.errors import UsageError


def explained(error: Exception, root: str, words: Sequence[str]) -> UsageError:
    text = str(error)
    option = re.search(r"Could not find '([^']+)/([^'/]+)'", text)
    if option:
        group, name = option.groups()
        return unknown_choice(group, name, choices_in(group), choices_in("loop"))
    key = re.search(r"[Cc]ould not override '([^']+)'", text)
    if key:
        parent = key.group(1).rpartition(".")[0]
        choice = next((one for one in reversed(words) if one.partition("=")[0] == parent), None)
        otherwise = f"adasparse config show {root} prints all keys"
        return unknown_key(key.group(1), _known_keys(root, words), choice=choice, otherwise=otherwise)
    return UsageError(text.splitlines()[0], hint=f"adasparse config show {root} prints all keys and values")


def _known_keys(root: str, words: Sequence[str]) -> list[str]:
    """Every key of the tree for the choices in `words`."""
    choices = [word for word in words if re.fullmatch(r"(data|model|loop|network)=[\w.:-]+", word)]
    try:
        with composing():
            tree = OmegaConf.to_container(hydra_compose(root, overrides=choices), resolve=False)
    except (HydraException, OmegaConfBaseException):
        return []
    keys: list[str] = []

    def walk(value: Any, prefix: str) -> None:
        for name, below in value.items():
            keys.append(prefix + name)
            if isinstance(below, dict):
                walk(below, f"{prefix}{name}.")

    walk(tree, "")
    return keys
