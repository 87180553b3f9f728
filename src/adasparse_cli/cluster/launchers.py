"""All launchers by name. The command line and conf/launcher use the same names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adasparse_cli.cluster import local, ray, slurm
from adasparse_cli.cluster.engine import Engine
from adasparse_cli.cluster.settings import LOCAL, ClusterSettings, LauncherSettings
from adasparse_cli.errors import UsageError
from adasparse_cli.typed import typed

SETTINGS: dict[str, type[LauncherSettings]] = {LOCAL: local.Settings, "ray": ray.Settings, "slurm": slurm.Settings}


def launcher_settings(section: Mapping[str, Any]) -> LauncherSettings:
    """The settings of the `launcher` section.

    Raises:
        UsageError: the launcher is unknown, or a value is invalid.
    """
    name = str(section.get("name"))
    if name not in SETTINGS:
        raise UsageError(f"launcher.name={name}: unknown launcher {name!r}", hint=f"valid names: {', '.join(SETTINGS)}")
    return typed(section, SETTINGS[name], "launcher")


def engine_of(settings: ClusterSettings) -> Engine:
    """The scheduler to which a launcher submits jobs."""
    return slurm.Slurm(settings) if isinstance(settings, slurm.Settings) else _ray(settings)


def _ray(settings: ClusterSettings) -> Engine:
    assert isinstance(settings, ray.Settings)
    return ray.Ray(settings)
