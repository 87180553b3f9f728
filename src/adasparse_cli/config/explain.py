"""What a person meant by a key or a name that is unknown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from hydra import compose as hydra_compose
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from adasparse_cli.choices import nearest
from adasparse_cli.config.packaged import choices_in, composing
from adasparse_cli.errors import UsageError


def explained(error: Exception, root: str, words: Sequence[str]) -> UsageError:
    text = str(error)
    option = re.search(r"Could not find '([^']+)/([^'/]+)'", text)
    if option:
        group, name = option.groups()
        offered = {one: one for one in choices_in(group)}
        if group == "model":
            offered |= {other: f"loop={other}" for other in choices_in("loop") if other != "standard"}
        close = nearest(name, offered)
        lead = f"did you mean {offered[close]}? " if close else ""
        return UsageError(
            f"{group}={name}: there is no {group} {name!r}", hint=f"{lead}there are {', '.join(offered.values())}"
        )
    key = re.search(r"[Cc]ould not override '([^']+)'", text)
    if key:
        known = _known_keys(root, words)
        parent, _, own = key.group(1).rpartition(".")
        beside = [name for name in known if name.rpartition(".")[0] == parent]
        # a section, such as `model`, is not what was meant by a key, such as `model.mode`
        leaves = [name for name in known if not any(other.startswith(f"{name}.") for other in known)]
        close = nearest(key.group(1), [name for name in leaves if nearest(own, [name.rpartition(".")[2]], alike=0.6)])
        others = (
            f"there are {', '.join(beside)}" if parent and beside else f"adasparse config show {root} prints all keys"
        )
        hint = f"did you mean {close}?" if close else others
        choice = next((one for one in reversed(words) if one.partition("=")[0] == parent), None)
        return UsageError(f"{key.group(1)} is no key" + (f" of {choice}" if choice else ""), hint=hint)
    return UsageError(text.splitlines()[0], hint=f"adasparse config show {root} prints all keys and values")


def _known_keys(root: str, words: Sequence[str]) -> list[str]:
    """Every key of the tree that the choices among `words` lead to."""
    choices = [word for word in words if re.fullmatch(r"(data|model|loop|network)=[\w-]+", word)]
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
