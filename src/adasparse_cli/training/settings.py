"""Settings of training: the `loop` section."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from adasparse_cli.choices import Between, EpochsRule, MatmulPrecision, Metric, RowSource, RowSteps

# The patience of `epochs: auto` if `patience` is not set.
AUTO_PATIENCE = 2


@dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """The standard loop.

    Args:
        batch_size: rows per step.
        epochs: passes over the train split; or `auto`: until the valid metric has not improved for `patience` evaluations,
            but at least one epoch. Schedules (of the learning rates and of the model) run over all epochs. With `auto` they
            run over the first epoch and then keep their last value.
        max_epochs: maximum number of epochs with `epochs: auto`.
        max_steps: maximum number of training steps; null for no limit. Schedules end at whichever comes first.
        learning_rate: Adam's learning rate for dense parameters.
        embedding_learning_rate: Adam's learning rate for embeddings; null for `learning_rate`.
        domain_learning_rate: Adam's learning rate for parameters of single domains (STAR's factors, SAR-Net's experts); null
            for `learning_rate`.
        context_learning_rate: Adam's learning rate for the embeddings of the domain context; null for `learning_rate`.
        row_steps: steps that Adam's bias correction counts for a row of a table: `all` steps, or `own`, the steps that used
            the row (training/optimiser.py).
        warmup_share: share (0–1) of the scheduled steps over which the learning rates rise linearly from 0.
        final_share: factor (0–1) of the learning rates at the last scheduled step, to which they fall linearly; 1 is constant.
        beta1: decay of Adam's first moment.
        beta2: decay of Adam's second moment.
        eps: constant that Adam adds to the root of the second moment.
        evaluations: number of evaluations on the valid split per epoch, evenly spaced, the last at the end of the epoch.
        select: metric of the valid split that chooses the best checkpoint. If the model has a sparsity interval, checkpoints
            with all layers inside it are preferred.
        patience: number of evaluations without improvement before training stops; null: never, or 2 with `epochs: auto`.
        log_steps: steps between two lines of training metrics.
        checkpoint_seconds: seconds between two checkpoints. Checkpoints are also written after evaluations, and less often if
            writing them would take more than 5 % of the time.
        evaluation_batch_size: rows per step of evaluation.
        matmul_precision: precision of matrix products in a training step. Below `highest`, factors are rounded to TF32 or bf16 if the
            device has units for it, and sums stay fp32. Scores are always computed in full precision.
        placebo: control arm: the model receives the domain of another row.
        rows: where the rows are: in `memory`, or on disk (`stream`) as records next to the prepared data, read ahead in windows.
            `auto` streams if the rows of the train split need more than 4 GiB. Streaming changes the order of the rows.
        window_rows: number of rows that `stream` shuffles at a time. Memory holds twice as many.
    """

    name: str
    batch_size: Annotated[int, Between(2)]
    epochs: Annotated[int, Between(1)] | EpochsRule
    max_epochs: Annotated[int, Between(1)]
    max_steps: Annotated[int, Between(1)] | None
    learning_rate: Annotated[float, Between(0, exclusive=True)]
    embedding_learning_rate: Annotated[float, Between(0, exclusive=True)] | None
    domain_learning_rate: Annotated[float, Between(0, exclusive=True)] | None
    context_learning_rate: Annotated[float, Between(0, exclusive=True)] | None
    row_steps: RowSteps
    warmup_share: Annotated[float, Between(0, 1)]
    final_share: Annotated[float, Between(0, 1)]
    beta1: Annotated[float, Between(0, 0.9999)]
    beta2: Annotated[float, Between(0, 0.99999)]
    eps: Annotated[float, Between(0, exclusive=True)]
    evaluations: Annotated[int, Between(1)]
    select: Metric
    patience: Annotated[int, Between(1)] | None
    log_steps: Annotated[int, Between(1)]
    checkpoint_seconds: Annotated[float, Between(0)]
    evaluation_batch_size: Annotated[int, Between(1)]
    matmul_precision: MatmulPrecision
    placebo: bool
    rows: RowSource
    window_rows: Annotated[int, Between(256)]

    @property
    def finds_epochs(self) -> bool:
        """Whether the valid metric determines the number of epochs."""
        return self.epochs is EpochsRule.auto

    @property
    def most_epochs(self) -> int:
        """Number of epochs without early stopping."""
        return self.max_epochs if isinstance(self.epochs, EpochsRule) else self.epochs

    @property
    def likely_epochs(self) -> float:
        """Expected number of epochs for estimates. With `auto`, the first epoch is assumed to be the best."""
        patience = self.patience_used if self.finds_epochs else None
        return float(self.most_epochs if patience is None else min(1 + patience / self.evaluations, self.max_epochs))

    @property
    def patience_used(self) -> int | None:
        """Number of evaluations without improvement that end the run; None for no early stopping."""
        return AUTO_PATIENCE if self.patience is None and self.finds_epochs else self.patience
