"""The settings and values that `tune` tries for each model, from conf/search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adasparse_cli.choices import nearest
from adasparse_cli.config.packaged_sections import offered, packaged_section
from adasparse_cli.config.spelling import leaves
from adasparse_cli.errors import UsageError
from adasparse_cli.search.coordinate import is_walked


def space_of(model: str, settings: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The values to try for each setting of a model, including the packaged value.

    Args:
        model: name of a model or loop. A model without a file in conf/search uses common.yaml.
        settings: settings of the run that the search starts from.

    Raises:
        UsageError: the model does not have a key, or its values are not a sorted list of two or more.
    """
    name = model if model in offered("search") else "common"
    space = packaged_section("search", name) or {}
    known = dict(leaves(settings))
    for key, values in space.items():
        where = f"conf/search/{name}.yaml: {key}"
        if key not in known:
            close = nearest(key, list(known))
            hint = f"did you mean {close}?" if close else "adasparse config show prints all keys"
            raise UsageError(f"{where} is not a setting of {model}", hint=hint)
        if not isinstance(values, list) or len(values) < 2:
            raise UsageError(f"{where} is not a list of two or more values", hint=f"for example {key}: [0.001, 0.002]")
        if is_walked(values) and values != sorted(set(values)):
            raise UsageError(
                f"{where}: numbers must be in ascending order, without duplicates", hint=str(sorted(set(values)))
            )
    return {key: _with_start(values, known[key]) for key, values in space.items()}


def _with_start(values: list[Any], start: Any) -> list[Any]:
    """The list with the start value inserted; an ordered list stays ordered."""
    if start in values:
        return values
    both = [start, *values]
    return sorted(both) if is_walked(both) else both
