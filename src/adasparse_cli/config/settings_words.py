"""The overrides that change packaged settings into the settings of a run."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from adasparse_cli.config.packaged_sections import packaged_section
from adasparse_cli.config.spelling import leaves, word
from adasparse_cli.errors import UsageError
from adasparse_cli.foreign import foreign_model


def settings_words(settings: Mapping[str, Any], sections: Sequence[str] = ("network", "model", "loop")) -> list[str]:
    """The overrides that change the packaged settings of a run's model and loop into the run's settings.

    Args:
        settings: the sections `network`, `model` and `loop`.
        sections: the sections to include.

    Raises:
        UsageError: these are not settings of a run, or the model or loop is unknown.
    """
    held = {name: section for name, section in settings.items() if isinstance(section, dict) and section}
    names = {name: held.get(name, {}).get("name") for name in ("model", "loop")}
    if not {*sections} <= held.keys() or not all(isinstance(name, str) for name in names.values()):
        raise UsageError("these are not settings of a run", hint="adasparse config show train prints valid settings")
    defaults = dict(leaves(_packaged(names["model"], names["loop"])))
    own = leaves({name: held[name] for name in sections})
    if packaged_section("model", str(names["model"])) is None and "model" in sections:
        # a custom model has its values next to its module, which is not imported here
        defaults |= {key: None for key, _ in leaves({"model": held["model"]})} | {"model.name": names["model"]}
        return [
            f"model={names['model']}",
            *(word(key, value) for key, value in own if defaults.get(key, value) != value),
        ]
    return [word(key, value) for key, value in own if key in defaults and defaults[key] != value]


@functools.cache
def _packaged(model: str, loop: str) -> dict[str, Any]:
    """The packaged sections; empty for a custom model."""
    found: dict[str, Any] = {}
    for group, name in (("network", "default"), ("model", model), ("loop", loop)):
        section = packaged_section(group, name)
        if section is None and (group != "model" or foreign_model(name) is None):
            raise UsageError(f"unknown {group} {name!r}", hint="adasparse models ls lists models and loops")
        found[group] = dict(section or {})
    return found
