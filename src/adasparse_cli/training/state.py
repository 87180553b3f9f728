"""Where a run is, and what a loop passes on: the state that a checkpoint holds, a step's gradients, the result."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from adasparse_cli.training.selection import Candidate


@dataclass
class LoopState:
    """Where a run is; plain values, so that it can be saved as JSON. `lines` are the lines of metrics.jsonl."""

    step: int = 0
    best_value: float | None = None
    best_step: int | None = None
    best_inside: bool = True
    evaluations_since_best: int = 0
    stopped_early: bool = False
    lines: list[str] = field(default_factory=list)
    logged_steps: int = 0
    last_sparsity: list[float] | None = None
    elapsed_seconds: float = 0.0

    @property
    def best(self) -> Candidate | None:
        """The best evaluation; None before the first one."""
        if self.best_step is None:
            return None
        return Candidate(step=self.best_step, value=self.best_value, inside=self.best_inside)

    def keep(self, found: Candidate) -> None:
        """Make it the best."""
        self.best_step, self.best_value, self.best_inside = found.step, found.value, found.inside


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """What the loop did; the best weights are in the model.

    Args:
        steps: number of steps. best_step: the step of the best checkpoint.
        stopped_early: whether patience ended the run.
        elapsed_seconds: time in the loop, evaluations included, over all its sittings.
        rows_per_second: training rows over the time spent in steps of this sitting; None if it did none.
    """

    steps: int
    best_step: int
    best_value: float | None
    stopped_early: bool
    elapsed_seconds: float
    rows_per_second: float | None


@dataclass(frozen=True, slots=True)
class Gradients:
    """What a loop reports of a step's rows after it added their gradients to the parameters.

    Args:
        loss: mean cross-entropy. penalty: mean penalty; both without gradient.
        pruned: mean share of pruned neurons per gated layer; None for models that prune nothing.
    """

    loss: Tensor
    penalty: Tensor
    pruned: Tensor | None
