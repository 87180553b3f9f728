"""How a model is trained: the `loop` section."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from adasparse_cli.choices import Between, MatmulPrecision, Metric, RowSteps


@dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """The standard loop.

    Args:
        batch_size: rows per step.
        epochs: passes over the train split. One is the default: embeddings of ids overfit in the second.
        max_steps: stop after so many steps; null for no limit. Schedules end at whichever comes first.
        learning_rate: Adam's step size for dense parameters.
        embedding_learning_rate: for embeddings; null for the same.
        domain_learning_rate: for tables of what each domain has to itself (STAR's factors, SAR-Net's experts); null
            for the same.
        context_learning_rate: for the embeddings of the domain context; null for the same.
        row_steps: what Adam's bias correction counts for a row of a table: `all` steps, or the row's `own`
            (training/optimiser.py).
        warmup_share: share (0–1) of all steps over which the learning rates rise linearly from 0.
        final_share: share (0–1) of the learning rates that is left at the last step, falling linearly; 1 is constant.
        beta1, beta2, eps: Adam's constants.
        evaluations: evaluations on the valid split per epoch, evenly spread, the last at its end.
        select: metric of the valid split that chooses the best checkpoint.
        patience: stop after so many evaluations without a better one; null to never stop early.
        log_steps: steps between two lines of training metrics.
        checkpoint_seconds: time between two checkpoints. They are also written after evaluations, and less often where
            writing them would take more than 5 % of the time.
        evaluation_batch_size: rows per step of evaluation.
        matmul_precision: of the products in a training step; below `highest` their factors are rounded to TF32 or bf16
            where the device has units for it, and their sums stay fp32. Scores are computed in full precision always.
        placebo: control arm; what a pruner or gate is told of the domain is another row's.
    """

    name: str
    batch_size: Annotated[int, Between(2)]
    epochs: Annotated[int, Between(1)]
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
