"""Settings of data that an earlier version prepared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Settings that a recipe got after data had been prepared with it, with the value that was in force before.
ADDED_LATER: dict[str, dict[str, Any]] = {
    "tabular": {
        "positive": [],
        "timestamp_unit": "s_or_ms",
        "derived": None,
        "spelling": "as_written",
        "quoted_newlines": False,
        "header": [],
        "encoding": "utf-8",
    },
    "twin": {"straying": 0.25, "second_group": 0.2, "tastes": "joint"},
}


def settings_as_today(values: Mapping[str, Any]) -> dict[str, Any]:
    """Saved settings of a recipe, with those that it did not have when they were saved."""
    return {**ADDED_LATER.get(str(values.get("recipe")), {}), **values}
