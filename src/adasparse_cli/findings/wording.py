"""How figures are put into words, the same in every finding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def counted(number: int, what: str) -> str:
    """`1 domain`, `2,000 domains`."""
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def none_if_nan(value: float) -> float | None:
    """A number, or None for NaN."""
    return value if value == value else None  # NaN alone differs from itself


def mean_or_none(values: Sequence[float | None]) -> float | None:
    """None where one is missing: a mean over other seeds is another arm's."""
    held = [value for value in values if value is not None]
    return float(np.mean(held)) if held and len(held) == len(values) else None
