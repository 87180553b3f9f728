"""The state of a loop in a checkpoint, the losses of a step, and the result of training."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from adasparse_cli.checkpoints.selection import Candidate


@dataclass
class LoopState:
    """The state of a run as plain values, which are saved as JSON. `lines` are the lines of metrics.jsonl."""

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

    def keep(self, candidate: Candidate) -> None:
        """Set the best evaluation."""
        self.best_step, self.best_value, self.best_inside = candidate.step, candidate.value, candidate.inside


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """The result of training. The model has the best weights.

    Args:
        steps: number of steps.
        best_step: step of the best checkpoint.
        best_value: metric of the best checkpoint; None if it is not available.
        stopped_early: whether patience ended the run.
        elapsed_seconds: time in the loop including evaluations, over all sittings.
        rows_per_second: training rows per second spent in steps of this sitting; None if it had no steps.
    """

    steps: int
    best_step: int
    best_value: float | None
    stopped_early: bool
    elapsed_seconds: float
    rows_per_second: float | None


@dataclass(frozen=True, slots=True)
class Gradients:
    """The losses of a step, after its gradients were added to the parameters.

    Args:
        loss: mean cross-entropy, without gradient.
        penalty: mean penalty, without gradient.
        pruned: mean share of pruned neurons per gated layer; None for models without pruning.
    """

    loss: Tensor
    penalty: Tensor
    pruned: Tensor | None
