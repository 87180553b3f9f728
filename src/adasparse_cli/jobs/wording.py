"""How figures are put into words, the same in every finding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def interval(low: float | None, high: float | None) -> str | None:
    """`[−0.0012, +0.0034]`; None where there is none."""
    return None if low is None or high is None else f"[{low:+.4f}, {high:+.4f}]"


def half_width(text: str | None) -> float | None:
    """How far an interval in words reaches to either side, for a plot's bars."""
    if text is None:
        return None
    low, high = (float(part) for part in text.strip("[]").split(","))
    return (high - low) / 2


def of(number: int, what: str) -> str:
    """`1 domain`, `2,000 domains`."""
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def known(value: float) -> float | None:
    """A number, or None for NaN."""
    return value if value == value else None  # NaN alone differs from itself


def mean_or_none(values: Sequence[float | None]) -> float | None:
    """None where one is missing: a mean over other seeds is another arm's."""
    held = [value for value in values if value is not None]
    return float(np.mean(held)) if held and len(held) == len(values) else None
