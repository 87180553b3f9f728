"""The length of a run: its steps, evaluations, early stopping, and the progress of its schedules."""

from __future__ import annotations

from dataclasses import dataclass

from adasparse_cli.training.settings import LoopSettings


@dataclass(frozen=True, slots=True)
class Length:
    """The steps of a run. All are known before training, except where early stopping ends it.

    With `epochs: auto`, schedules run over the first epoch and then keep their last value, so they do not depend on the end
    of the run. No run stops before its schedules have ended.

    Args:
        settings: settings of the loop.
        steps_per_epoch: the same for each epoch.
    """

    settings: LoopSettings
    steps_per_epoch: int

    @property
    def total_steps(self) -> int:
        """Number of steps without early stopping."""
        return min(self.settings.most_epochs * self.steps_per_epoch, self.settings.max_steps or 2**62)

    @property
    def scheduled_steps(self) -> int:
        """Steps over which the schedules run."""
        return min(self.total_steps, self.steps_per_epoch) if self.settings.finds_epochs else self.total_steps

    def progress(self, step: int) -> float:
        """Progress of the schedules at a step: 0 at the first, 1 from the last of `scheduled_steps` on."""
        return min(step / max(self.scheduled_steps - 1, 1), 1.0)

    def learning_rate_share(self, step: int) -> float:
        """Factor of the learning rates: it rises from 0 in the warm-up and falls to `final_share` at the end."""
        warmup = self.settings.warmup_share * self.scheduled_steps
        if step + 1 < warmup:
            return (step + 1) / warmup
        left = (self.scheduled_steps - 1 - step) / max(self.scheduled_steps - warmup, 1.0)
        return self.settings.final_share + (1 - self.settings.final_share) * min(max(left, 0.0), 1.0)

    def evaluates_after(self, steps: int) -> bool:
        """Whether the run is evaluated after this number of steps: evenly spaced in each epoch, and at the end."""
        if steps == self.total_steps:
            return True
        per_epoch = min(self.steps_per_epoch, self.total_steps)
        done = (steps - 1) % per_epoch
        count = min(self.settings.evaluations, per_epoch)
        return (done + 1) * count // per_epoch > done * count // per_epoch

    def stops(self, steps: int, evaluations_since_best: int) -> bool:
        """Whether patience ends the run after an evaluation."""
        patience = self.settings.patience_used
        if patience is None or (self.settings.finds_epochs and steps < self.scheduled_steps):
            return False
        return evaluations_since_best >= patience
