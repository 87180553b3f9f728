"""How a model is trained: the `loop` section."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from adasparse_cli.choices import Between, EpochsRule, MatmulPrecision, Metric, RowSource, RowSteps

# Evaluations without a better one after which `epochs: auto` stops, where `patience` is not set.
AUTO_PATIENCE = 2


@dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """The standard loop.

    Args:
        batch_size: rows per step.
        epochs: passes over the train split; or `auto`: until the valid metric has not improved for `patience` evaluations,
            but at least one epoch. Schedules (of the learning rates and of the model) run over all epochs, with `auto` over
            the first one, and then keep their last value.
        max_epochs: most epochs that `auto` takes.
        max_steps: maximum number of training steps; null for no limit. Schedules end at whichever comes first.
        learning_rate: Adam's step size for dense parameters.
        embedding_learning_rate: Adam's step size for embeddings; null for `learning_rate`.
        domain_learning_rate: Adam's step size for parameters that each domain has to itself (STAR's factors, SAR-Net's
            experts); null for `learning_rate`.
        context_learning_rate: Adam's step size for the embeddings of the domain context; null for `learning_rate`.
        row_steps: what Adam's bias correction counts for a row of a table: `all` steps, or the row's `own`
            (training/optimiser.py).
        warmup_share: share (0–1) of the scheduled steps over which the learning rates rise linearly from 0.
        final_share: share (0–1) of the learning rates that is left at the last scheduled step, falling linearly; 1 is constant.
        beta1: decay of Adam's first moment.
        beta2: decay of Adam's second moment.
        eps: constant that Adam adds to the root of the second moment.
        evaluations: evaluations on the valid split per epoch, evenly spread, the last at its end.
        select: metric of the valid split that chooses the best checkpoint. Where a model has a sparsity interval, a
            checkpoint with all layers inside it goes before one without.
        patience: number of evaluations without improvement before training stops; null: never, or 2 with `epochs: auto`.
        log_steps: steps between two lines of training metrics.
        checkpoint_seconds: time between two checkpoints. They are also written after evaluations, and less often where
            writing them would take more than 5 % of the time.
        evaluation_batch_size: rows per step of evaluation.
        matmul_precision: precision of the matrix products in a training step; below `highest` their factors are rounded to TF32 or bf16
            where the device has units for it, and their sums stay fp32. Scores are computed in full precision always.
        placebo: control arm: the model receives the domain of another row.
        rows: where the rows are: in `memory`, or on disk (`stream`) as records beside the prepared data, of which windows are read
            ahead; `auto` streams where the rows of the train split take more than 4 GiB. Streamed rows come in another order.
        window_rows: rows that `stream` shuffles at a time. Twice as many are in memory.
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
        """Whether the number of epochs is found by the valid metric."""
        return self.epochs is EpochsRule.auto

    @property
    def most_epochs(self) -> int:
        """Epochs, if nothing stops the run early."""
        return self.max_epochs if isinstance(self.epochs, EpochsRule) else self.epochs

    @property
    def likely_epochs(self) -> float:
        """Epochs to expect in a forecast: with `auto` those of a run whose first epoch is its best."""
        patience = self.patience_used if self.finds_epochs else None
        return float(self.most_epochs if patience is None else min(1 + patience / self.evaluations, self.max_epochs))

    @property
    def patience_used(self) -> int | None:
        """Evaluations without a better one that end the run; None for no early stop."""
        return AUTO_PATIENCE if self.patience is None and self.finds_epochs else self.patience
