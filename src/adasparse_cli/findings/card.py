"""The answer in a few lines: what a page shows before everything else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from adasparse_cli.findings.finding import Interval, Style

# Models of the same data do not differ by so much, be it in AUC or in log loss.
LARGEST = 0.5


class Outcome(StrEnum):
    """What the data say of an arm against the baseline."""

    better = "better"
    worse = "worse"
    undecided = "undecided"
    equal = "no difference"
    unknown = "no interval"


@dataclass(frozen=True, kw_only=True)
class ArmOutcome:
    """One arm against the baseline.

    Args:
        detectable: the smallest true difference that the data would probably show; None where it is not known.
        larger: what a larger study would show, as a short text; empty where it is not known.
    """

    arm: str
    style: Style
    outcome: Outcome
    difference: float | None
    interval: Interval
    detectable: float | None
    larger: str = ""

    @property
    def can_show(self) -> bool:
        """Whether the data could have shown a difference of a size that occurs."""
        return self.detectable is not None and self.detectable < LARGEST


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One figure of a single run, such as its AUC on the test rows.

    Args:
        value: as text. note: its range over seeds, or the value on the valid rows.
    """

    name: str
    value: str
    note: str


@dataclass(frozen=True, kw_only=True)
class Card:
    """The answer.

    Args:
        headline: the answer in one sentence. remarks: further sentences.
        metric: what the differences are in, such as `GAUC by domain, difference to dnn`.
        arms: one row per compared arm. measures: of a single arm.
    """

    headline: str
    remarks: Sequence[str] = ()
    metric: str = ""
    arms: Sequence[ArmOutcome] = ()
    measures: Sequence[Measure] = ()
