"""Values back to the words that make them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adasparse_cli.config.compose import compose, data_start, packaged
from adasparse_cli.config.grammar import leaves, spelled, word
from adasparse_cli.errors import UsageError


def data_words(values: Mapping[str, Any]) -> list[str] | None:
    """The words that choose a data set of conf/data and turn it into `values`; None where words cannot."""
    start = data_start(str(values["name"]), str(values["recipe"]))
    packaged = compose("prep", [f"data={start}"])["data"]
    differing = [f"data.{key}={spelled(value)}" for key, value in values.items() if packaged.get(key, ...) != value]
    words = [f"data={start}", *differing]
    try:
        return words if compose("prep", words)["data"] == dict(values) else None
    except UsageError:
        return None


def settings_words(settings: Mapping[str, Any], sections: Sequence[str] = ("network", "model", "loop")) -> list[str]:
    """The words that turn the packaged settings of a run's model and loop into its own.

    Args:
        settings: the sections `network`, `model` and `loop`.
        sections: those to speak of.

    Raises:
        UsageError: the settings are none, or of a model or loop that is not known.
    """
    held = {name: section for name, section in settings.items() if isinstance(section, dict) and section}
    names = {name: held.get(name, {}).get("name") for name in ("model", "loop")}
    if not {*sections} <= held.keys() or not all(isinstance(name, str) for name in names.values()):
        raise UsageError("these are no settings of a run", hint="adasparse config show train prints such")
    defaults = dict(leaves(packaged(tuple(f"{group}={name}" for group, name in names.items()))))
    own = leaves({name: held[name] for name in sections})
    return [word(key, value) for key, value in own if key in defaults and defaults[key] != value]
