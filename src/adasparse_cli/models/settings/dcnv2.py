"""Settings of `model=dcnv2`."""

from __future__ import annotations

from dataclasses import dataclass

from adasparse_cli.layers.settings import CrossSettings


@dataclass(frozen=True, kw_only=True)
class Dcnv2Settings:
    """Settings of DCNv2."""

    name: str
    cross: CrossSettings
