"""Sections of the packaged settings, read without Hydra, which takes a tenth of a second for each.

Only for settings that are shown: what is trained is composed by `compose.py`. A test compares both for every name.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from adasparse_cli.typed import from_yaml


@functools.cache
def packaged_section(group: str, name: str) -> Mapping[str, Any] | None:
    """The values of `conf/GROUP/NAME.yaml` over those of the file that it starts from; None where there is none.

    Args:
        group: `data`, `network`, `model` or `loop`.
    """
    path = files("adasparse_cli.conf") / group / f"{name}.yaml"
    if not name.replace("-", "_").isidentifier() or not path.is_file():
        return None
    values = from_yaml(path.read_text(encoding="utf-8"))
    defaults = values.pop("defaults", ["_self_"])
    found: dict[str, Any] = {}
    for start in defaults:
        found = _laid_over(found, values if start == "_self_" else packaged_section(group, start) or {})
    return found


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    both = {
        key: _laid_over(below[key], value)
        for key, value in above.items()
        if isinstance(value, Mapping) and isinstance(below.get(key), Mapping)
    }
    return {**below, **above, **both}
