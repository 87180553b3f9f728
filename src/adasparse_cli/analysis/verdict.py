"""What a difference, with its interval, says of a claim.

A claim "A is better than B" is supported if the difference is real (0 is excluded after correction) and on A's side. It is
not supported if the interval leaves no room for a gain that matters: its upper end is below the smallest difference of interest.
Else it is undecided: the study was too small. A claim "A is no worse than B" is supported if the interval leaves no room for
a loss that matters, and is not if a loss is real. The intervals are those that hold for all comparisons at once, so that
"not supported" is corrected as "supported" is.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import numpy as np

from adasparse_cli.analysis.statistics import Difference

# A difference of 0.001 in AUC is what papers of this field commonly call one that matters.
SMALLEST = 0.001


class Verdict(StrEnum):
    """What the evidence says of a claim."""

    holds = "supported"
    fails = "not supported"
    undecided = "undecided"


def better(found: Difference, *, smallest: float = SMALLEST) -> Verdict:
    """Of "A is better than B"; positive differences are on A's side."""
    if not _judged(found):
        return Verdict.undecided
    if found.is_real and found.difference > 0:
        return Verdict.holds
    return Verdict.fails if found.joint_high < smallest else Verdict.undecided


def no_worse(found: Difference, *, smallest: float = SMALLEST) -> Verdict:
    """Of "A is no worse than B"."""
    if not _judged(found):
        return Verdict.undecided
    if found.joint_low > -smallest:
        return Verdict.holds
    return Verdict.fails if found.is_real and found.difference < 0 else Verdict.undecided


def alike(found: Difference, *, smallest: float = SMALLEST) -> Verdict:
    """Of "A and B differ by nothing that matters"."""
    if not _judged(found):
        return Verdict.undecided
    if found.joint_low > -smallest and found.joint_high < smallest:
        return Verdict.holds
    return Verdict.fails if found.is_real else Verdict.undecided


def _judged(found: Difference) -> bool:
    """Whether there is an interval; one of no width comes of arms that do not differ on any row that counts."""
    return bool(np.isfinite(found.p_holm)) and found.error > 0


def together(verdicts: Sequence[Verdict]) -> Verdict:
    """Of a claim that is several claims at once: it is supported if all are, and is not if one is not."""
    if Verdict.fails in verdicts:
        return Verdict.fails
    return Verdict.undecided if Verdict.undecided in verdicts or not verdicts else Verdict.holds
