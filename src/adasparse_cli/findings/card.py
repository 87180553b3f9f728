"""The answer in a few lines, which a page shows first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from adasparse_cli.findings.finding import Interval, Style

# Models trained on the same data do not differ by this much in AUC or log loss.
LARGEST = 0.5


class Outcome(StrEnum):
    """The verdict on an arm against the baseline."""

    better = "better"
    worse = "worse"
    undecided = "undecided"
    equal = "no difference"
    unknown = "no interval"


@dataclass(frozen=True, kw_only=True)
class ArmOutcome:
    """One arm against the baseline.

    Args:
        detectable: the smallest true difference that the data would probably show; None if unknown.
        larger: what a larger study would show, as a short text; empty if unknown.
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
        """Whether the detectable difference is small enough to occur in practice."""
        return self.detectable is not None and self.detectable < LARGEST


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One metric of a single run, for example its AUC on the test rows.

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
        metric: the unit of the differences, for example `GAUC by domain, difference to dnn`.
        arms: one row per compared arm. measures: of a single arm.
    """

    headline: str
    remarks: Sequence[str] = ()
    metric: str = ""
    arms: Sequence[ArmOutcome] = ()
    measures: Sequence[Measure] = ()
