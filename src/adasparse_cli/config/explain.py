"""Explains errors in overrides that Hydra rejects."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from hydra import compose as hydra_compose
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from adasparse_cli.config.packaged import composing
from adasparse_cli.config.packaged_sections import offered
from adasparse_cli.config.unknown import unknown_choice, unknown_key
from adasparse_cli.errors import UnknownSettingsError, UsageError


def explained(error: Exception, root: str, words: Sequence[str]) -> UsageError:
    text = str(error)
    option = re.search(r"Could not find '([^']+)/([^'/]+)'", text)
    if option:
        group, name = option.groups()
        return unknown_choice(group, name, offered(group), offered("loop"))
    key = re.search(r"[Cc]ould not override '([^']+)'", text)
    if key:
        return _unknown_keys(key.group(1), root, words)
    return UsageError(text.splitlines()[0], hint=f"adasparse config show {root} prints all keys and values")


def _unknown_keys(first: str, root: str, words: Sequence[str]) -> UsageError:
    """The error for all overrides with unknown keys; Hydra reports only the first. Valid overrides are returned for more checks."""
    known = _known_keys(root, words)
    wrong, kept = {}, []
    for word in words:
        key = word.partition("=")[0].lstrip("+~")
        if key == first or (known and key not in known and not _is_below(key, known)):
            parent = key.rpartition(".")[0]
            choice = next((one for one in reversed(words) if one.partition("=")[0] == parent), None)
            otherwise = f"adasparse config show {root} prints all keys"
            wrong[key] = unknown_key(key, known, choice=choice, otherwise=otherwise)
        else:
            kept.append(word)
    hints = [one.hint for one in wrong.values()]
    if len(wrong) > 1:
        hints = [f"{key}: {one.hint}" for key, one in wrong.items()]
    return UnknownSettingsError(
        "; ".join(one.message for one in wrong.values()),
        hint="; ".join(dict.fromkeys(hints)),
        known=tuple(kept),
        parts=[(one.message, one.hint) for one in wrong.values()],
    )


def _is_below(key: str, known: Sequence[str]) -> bool:
    """Whether a key may be an entry of a mapping, for example `data.roles.user`."""
    parents = key.split(".")[:-1]
    return len(parents) > 1 and ".".join(parents) in known


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
