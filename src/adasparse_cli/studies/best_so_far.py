"""What is said of each run of a study as soon as it is finished: its metric on the valid split, and the best one so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from adasparse_cli.choices import Metric


@dataclass
class BestSoFar:
    """The best run or trial by a metric of the valid split.

    Args:
        comparable: whether the metric means the same for all runs; if not, none is called the best.
    """

    metric: Metric
    comparable: bool = True
    name: str = field(default="", init=False)
    value: float | None = field(default=None, init=False)

    def line(self, name: str, value: float | None, *, width: int = 0) -> str:
        """A finished run in one line.

        Args:
            name: of the run, such as `fusion, seed 1`. value: of the metric; None where it is not available.
            width: that names are padded to, so that lines stand below one another.
        """
        self.add(name, value)
        shown = "n/a" if value is None else f"{value:.4f}"
        said = f"{name:<{width}}  valid {self.metric} {shown}"
        if not self.comparable or self.value is None:
            return said
        return f"{said}  best so far {self.value:.4f}" + ("" if self.name == name else f" ({self.name})")

    def add(self, name: str, value: float | None) -> None:
        """Remember a run that is finished."""
        sign = -1.0 if self.metric is Metric.log_loss else 1.0
        if value is not None and (self.value is None or sign * value > sign * self.value):
            self.name, self.value = name, value


def valid_metric(report: Mapping[str, Any], metric: Metric) -> float | None:
    """A metric of the valid split from a run's report; None where it is not available."""
    value = report["metrics"].get("valid", {}).get(metric)
    return None if value is None else float(value)
