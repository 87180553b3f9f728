"""The settings of `recipe: iaac`."""

from __future__ import annotations

from dataclasses import dataclass

from adasparse_cli.prep.recipe import (
    DataSettings,
)


@dataclass(frozen=True, kw_only=True)
class Settings(DataSettings):
    """IAAC has only the settings of every data set."""
