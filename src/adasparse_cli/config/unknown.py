"""What a person meant by a key or a name that is unknown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from adasparse_cli.choices import nearest
from adasparse_cli.errors import UsageError


def unknown_key(key: str, known: Sequence[str], *, choice: str | None = None, otherwise: str = "") -> UsageError:
    """A key that is unknown, and the nearest one.

    Args:
        known: every key there is, sections included. choice: the override that chose the key's section, such as `model=dnn`.
        otherwise: what to say where no key is near and the section has no keys.
    """
    parent, _, own = key.rpartition(".")
    beside = [name for name in known if name.rpartition(".")[0] == parent]
    # a section, such as `model`, is not what was meant by a key, such as `model.mode`
    leaves = [name for name in known if not any(other.startswith(f"{name}.") for other in known)]
    close = nearest(key, [name for name in leaves if nearest(own, [name.rpartition(".")[2]], alike=0.6)])
    others = f"there are {', '.join(beside)}" if parent and beside else otherwise
    hint = f"did you mean {close}?" if close else others
    return UsageError(f"{key} is no key" + (f" of {choice}" if choice else ""), hint=hint)


def unknown_choice(group: str, name: str, offered: Sequence[str], loops: Sequence[str]) -> UsageError:
    """A name that a group of settings does not offer, and the nearest one.

    Args:
        loops: the loops; for a model, each is offered as what trains the DNN.
    """
    words: Mapping[str, str] = {one: one for one in offered}
    if group == "model":
        words = {**words, **{other: f"loop={other}" for other in loops if other != "standard"}}
    close = nearest(name, words)
    lead = f"did you mean {words[close]}? " if close else ""
    return UsageError(
        f"{group}={name}: there is no {group} {name!r}", hint=f"{lead}there are {', '.join(words.values())}"
    )
