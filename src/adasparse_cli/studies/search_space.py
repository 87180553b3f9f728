"""What a search may change in each model: conf/search, one file per model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adasparse_cli.choices import nearest
from adasparse_cli.config.packaged_sections import offered, packaged_section
from adasparse_cli.config.spelling import leaves
from adasparse_cli.errors import UsageError
from adasparse_cli.studies.coordinate import is_walked


def space_of(model: str, settings: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The values to try for each setting of a model, the packaged one among them.

    Args:
        model: a model's name, or a loop's; a model that has no file of its own gets what holds for all.
        settings: those of the run that the search starts from. Keys that it does not have are an error.

    Raises:
        UsageError: a key is none of the model's, has a list without its value, or is not a list.
    """
    name = model if model in offered("search") else "common"
    found = packaged_section("search", name) or {}
    known = dict(leaves(settings))
    for key, values in found.items():
        where = f"conf/search/{name}.yaml: {key}"
        if key not in known:
            close = nearest(key, list(known))
            hint = f"did you mean {close}?" if close else "adasparse config show prints all keys"
            raise UsageError(f"{where} is no setting of {model}", hint=hint)
        if not isinstance(values, list) or len(values) < 2:
            raise UsageError(f"{where} is no list of two values or more", hint=f"such as {key}: [0.001, 0.002]")
        if is_walked(values) and values != sorted(set(values)):
            raise UsageError(
                f"{where}: numbers are listed from the smallest to the largest, each once", hint=str(values)
            )
    return {key: _with_start(values, known[key]) for key, values in found.items()}


def _with_start(values: list[Any], start: Any) -> list[Any]:
    """The list with the value that the search starts from, in its place."""
    if start in values:
        return values
    both = [start, *values]
    return sorted(both) if is_walked(both) else both
