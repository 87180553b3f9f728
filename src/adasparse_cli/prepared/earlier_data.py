"""Settings of data that were prepared by an earlier version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Settings that recipes got later, with the value that describes the earlier behaviour.
ADDED_LATER: dict[str, dict[str, Any]] = {
    "tabular": {
        "positive": [],
        "timestamp_unit": "s_or_ms",
        "derived": None,
        "spelling": "as_written",
        "quoted_newlines": False,
        "header": [],
        "encoding": "utf-8",
        "test_files": [],
    },
    "joined": {"test_files": []},
    "twin": {"straying": 0.25, "second_group": 0.2, "tastes": "joint"},
}


def settings_as_today(values: Mapping[str, Any]) -> dict[str, Any]:
    """Saved settings of a recipe, completed with the settings that did not exist when they were saved."""
    return {**ADDED_LATER.get(str(values.get("recipe")), {}), **values}
