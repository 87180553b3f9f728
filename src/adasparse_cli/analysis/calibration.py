"""Reliability of predicted rates: equal-count bins, with Wilson's interval for the rate of positives.

    p = positives / n,   z = 1.96
    (p + z²/2n ± z √(p(1 − p)/n + z²/4n²)) / (1 + z²/n)

Source: Wilson, JASA 1927. The interval assumes independent rows, so it is too narrow if rows of a domain are correlated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Z = 1.959963984540054  # two-sided 95 %
BINS = 10


@dataclass(frozen=True, kw_only=True)
class ReliabilityBin:
    """Rows with similar predictions.

    Args:
        predicted: mean predicted rate. actual: rate of positives. low, high: its 95 % interval. All in 0–1.
    """

    predicted: float
    actual: float
    low: float
    high: float
    rows: int
    positives: int


def reliability(labels: NDArray[Any], seeds: Sequence[NDArray[Any]], *, number: int = BINS) -> list[ReliabilityBin]:
    """Mean prediction over seeds and rate of positives, from the lowest bin to the highest.

    Args:
        labels: 0 or 1. seeds: logits, one array per seed.
    """
    probabilities = np.mean([1 / (1 + np.exp(-logits.astype(np.float64))) for logits in seeds], axis=0)
    order = np.argsort(probabilities, kind="stable")
    found = []
    for part in np.array_split(order, number):
        if len(part):
            positives = int(labels[part].sum())
            low, high = wilson(positives, len(part))
            found.append(
                ReliabilityBin(
                    predicted=float(probabilities[part].mean()),
                    actual=positives / len(part),
                    low=low,
                    high=high,
                    rows=len(part),
                    positives=positives,
                )
            )
    return found


def wilson(positives: int, rows: int) -> tuple[float, float]:
    """The 95 % interval of a rate."""
    rate, scale = positives / rows, Z**2 / rows
    middle = rate + scale / 2
    half = Z * math.sqrt(rate * (1 - rate) / rows + scale / (4 * rows))
    return max((middle - half) / (1 + scale), 0.0), min((middle + half) / (1 + scale), 1.0)
