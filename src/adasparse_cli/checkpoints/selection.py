"""Selection of the best checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from adasparse_cli.choices import Metric


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """The result of an evaluation, as a candidate for the best checkpoint.

    Args:
        step: step of the evaluation.
        value: value of the selection metric; None if it is not available.
        inside: whether the sparsity of every layer is inside the requested interval; True without an interval.
    """

    step: int
    value: float | None
    inside: bool = True

    def beats(self, best: Candidate | None, metric: Metric) -> bool:
        """Whether it is better than the best so far: candidates inside the interval first, then by the metric."""
        if best is None or self.inside != best.inside:
            return best is None or self.inside
        if self.value is None or best.value is None:
            return self.value is not None
        return self.value < best.value if metric is Metric.log_loss else self.value > best.value

    @classmethod
    def of_json(cls, state: dict[str, Any]) -> Candidate:
        """From the state of a checkpoint. Earlier versions did not save `inside`."""
        return cls(step=state["step"], value=state.get("value"), inside=state.get("inside", True))


def lies_inside(sparsity: Sequence[float] | None, interval: tuple[float, float] | None) -> bool:
    """Whether the sparsity of every gated layer is inside the interval; True without an interval."""
    if interval is None or sparsity is None:
        return True
    return all(interval[0] <= share <= interval[1] for share in sparsity)
