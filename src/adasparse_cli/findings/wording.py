"""The wording of figures, the same in every finding."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import numpy as np


def counted(number: int, what: str) -> str:
    """`1 domain`, `2,000 domains`."""
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def none_if_nan(value: float) -> float | None:
    """A number, or None for NaN."""
    return value if value == value else None  # false only for NaN


def mean_or_none(values: Sequence[float | None]) -> float | None:
    """The mean, or None if a value is missing: a mean over other seeds cannot be compared."""
    held = [value for value in values if value is not None]
    return float(np.mean(held)) if held and len(held) == len(values) else None


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def two_digits(value: float) -> str:
    """A number rounded to two significant digits, without an exponent: `0.024`, `0.10`, `120`."""
    return format(Decimal(f"{value:.1e}"), "f")
