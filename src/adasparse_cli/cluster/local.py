"""The local launcher: the runs of a study are processes on this machine (`execution/workers.py`)."""

from __future__ import annotations

from dataclasses import dataclass

from adasparse_cli.cluster.settings import LauncherSettings


@dataclass(frozen=True, kw_only=True)
class Settings(LauncherSettings):
    """Runs as processes on this machine."""
