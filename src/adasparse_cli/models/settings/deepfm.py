"""Settings of `model=deepfm`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class DeepFmSettings:
    """DeepFM has no settings."""

    name: str
