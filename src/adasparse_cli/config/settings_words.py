"""The words that turn packaged settings into those of a run."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from adasparse_cli.config.packaged_sections import packaged_section
from adasparse_cli.config.spelling import leaves, word
from adasparse_cli.errors import UsageError
from adasparse_cli.foreign import foreign_model


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
    defaults = dict(leaves(_packaged(names["model"], names["loop"])))
    own = leaves({name: held[name] for name in sections})
    if packaged_section("model", str(names["model"])) is None and "model" in sections:
        # whose values stand beside its module, which is not imported for this
        defaults |= {key: None for key, _ in leaves({"model": held["model"]})} | {"model.name": names["model"]}
        return [
            f"model={names['model']}",
            *(word(key, value) for key, value in own if defaults.get(key, value) != value),
        ]
    return [word(key, value) for key, value in own if key in defaults and defaults[key] != value]


@functools.cache
def _packaged(model: str, loop: str) -> dict[str, Any]:
    """The packaged sections; that of a model which is not part of the package is empty."""
    found: dict[str, Any] = {}
    for group, name in (("network", "default"), ("model", model), ("loop", loop)):
        section = packaged_section(group, name)
        if section is None and (group != "model" or foreign_model(name) is None):
            raise UsageError(f"there is no {group} {name!r}", hint="adasparse models ls lists what can be trained")
        found[group] = dict(section or {})
    return found
