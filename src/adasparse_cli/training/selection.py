"""Which evaluation gives the best checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from adasparse_cli.choices import Metric


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """What an evaluation found.

    Args:
        step: after which it was made.
        value: of the metric that selects; None where it is not available.
        inside: whether the sparsity of every layer is inside the requested interval; True where there is none.
    """

    step: int
    value: float | None
    inside: bool = True

    def beats(self, best: Candidate | None, metric: Metric) -> bool:
        """Whether its weights are kept in the place of the best so far: inside before outside, then by the metric."""
        if best is None or self.inside != best.inside:
            return best is None or self.inside
        if self.value is None or best.value is None:
            return self.value is not None
        return self.value < best.value if metric is Metric.log_loss else self.value > best.value

    @classmethod
    def of_json(cls, found: dict[str, Any]) -> Candidate:
        """From a checkpoint's state; that of an earlier version says nothing of the interval."""
        return cls(step=found["step"], value=found.get("value"), inside=found.get("inside", True))


def lies_inside(sparsity: Sequence[float] | None, interval: tuple[float, float] | None) -> bool:
    """Whether the sparsity of every gated layer is inside the interval; True where there is none."""
    if interval is None or sparsity is None:
        return True
    return all(interval[0] <= share <= interval[1] for share in sparsity)
