"""The values that `model=deepfm` can be given."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class DeepFmSettings:
    """DeepFM has no settings."""

    name: str
