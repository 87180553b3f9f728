"""Verdicts on claims, from a difference and its interval.

- "A is better than B" is supported if the difference is real (0 is excluded after correction) and favours A. It is not
  supported if the upper end of the interval is below the smallest difference of interest.
- "A is no worse than B" is supported if the lower end of the interval is above minus the smallest difference of interest. It
  is not supported if the difference is real and favours B.
- Otherwise the claim is undecided: the study was too small.

The intervals are simultaneous for all comparisons, so "not supported" is corrected as "supported" is.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import numpy as np

from adasparse_cli.analysis.statistics import Difference

# Papers in this field commonly treat 0.001 in AUC as a difference that matters.
SMALLEST = 0.001


class Verdict(StrEnum):
    """The result for a claim."""

    holds = "supported"
    fails = "not supported"
    undecided = "undecided"


def better(found: Difference, *, smallest: float = SMALLEST) -> Verdict:
    """The verdict on "A is better than B". Positive differences favour A."""
    if not _judged(found):
        return Verdict.undecided
    if found.is_real and found.difference > 0:
        return Verdict.holds
    return Verdict.fails if found.joint_high < smallest else Verdict.undecided


def no_worse(found: Difference, *, smallest: float = SMALLEST) -> Verdict:
    """The verdict on "A is no worse than B"."""
    if not _judged(found):
        return Verdict.undecided
    if found.joint_low > -smallest:
        return Verdict.holds
    return Verdict.fails if found.is_real and found.difference < 0 else Verdict.undecided


def alike(found: Difference, *, smallest: float = SMALLEST) -> Verdict:
    """The verdict on "A and B do not differ by more than `smallest`"."""
    if not _judged(found):
        return Verdict.undecided
    if found.joint_low > -smallest and found.joint_high < smallest:
        return Verdict.holds
    return Verdict.fails if found.is_real else Verdict.undecided


def _judged(found: Difference) -> bool:
    """Whether there is an interval. A width of 0 means that the arms do not differ on any row that counts."""
    return bool(np.isfinite(found.p_holm)) and found.error > 0


def together(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict on several claims at once: it is supported if all are, and not supported if one is not."""
    if Verdict.fails in verdicts:
        return Verdict.fails
    return Verdict.undecided if Verdict.undecided in verdicts or not verdicts else Verdict.holds
