"""Overrides that select prepared data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adasparse_cli.config.compose import compose
from adasparse_cli.config.packaged_sections import data_start
from adasparse_cli.config.spelling import spelled
from adasparse_cli.errors import UsageError


def data_words(values: Mapping[str, Any]) -> list[str] | None:
    """The overrides that select a data set of conf/data and change it to `values`; None if overrides cannot express them."""
    start = data_start(str(values["name"]), str(values["recipe"]))
    packaged = compose("prep", [f"data={start}"])["data"]
    differing = [f"data.{key}={spelled(value)}" for key, value in values.items() if packaged.get(key, ...) != value]
    words = [f"data={start}", *differing]
    try:
        return words if compose("prep", words)["data"] == dict(values) else None
    except UsageError:
        return None
