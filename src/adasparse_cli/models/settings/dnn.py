"""Settings of `model=dnn`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class DnnSettings:
    """The DNN has no settings."""

    name: str
