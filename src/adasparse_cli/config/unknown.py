"""Errors for unknown keys and names, with suggestions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from adasparse_cli.choices import nearest
from adasparse_cli.errors import UsageError


def unknown_key(key: str, known: Sequence[str], *, choice: str | None = None, otherwise: str = "") -> UsageError:
    """The error for an unknown key, with the nearest known key.

    Args:
        known: every known key, including sections. choice: the override that chose the key's section, for example `model=dnn`.
        otherwise: the hint if no key is near and the section has no keys.
    """
    parent, _, own = key.rpartition(".")
    beside = [name for name in known if name.rpartition(".")[0] == parent]
    # a section, for example `model`, is not a suggestion for a key, for example `model.mode`
    leaves = [name for name in known if not any(other.startswith(f"{name}.") for other in known)]
    close = nearest(key, [name for name in leaves if nearest(own, [name.rpartition(".")[2]], alike=0.6)])
    others = f"there are {', '.join(beside)}" if parent and beside else otherwise
    hint = f"did you mean {close}?" if close else others
    return UsageError(f"unknown setting {key}" + (f" for {choice}" if choice else ""), hint=hint)


def unknown_choice(group: str, name: str, offered: Sequence[str], loops: Sequence[str]) -> UsageError:
    """The error for an unknown name of a group, with the nearest known name.

    Args:
        loops: the loops; for a model, each is also offered, because it trains the DNN.
    """
    words: Mapping[str, str] = {one: one for one in offered}
    if group == "model":
        words = {**words, **{other: f"loop={other}" for other in loops if other != "standard"}}
    close = nearest(name, words)
    lead = f"did you mean {words[close]}? " if close else ""
    return UsageError(
        f"{group}={name}: there is no {group} {name!r}", hint=f"{lead}there are {', '.join(words.values())}"
    )
