"""Settings of `loop=maml`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from adasparse_cli.choices import Between
from adasparse_cli.training.settings import LoopSettings


@dataclass(frozen=True, kw_only=True)
class MamlSettings(LoopSettings):
    """Settings of MAML, in addition to the settings of the standard loop.

    Args:
        inner_learning_rate: a, the learning rate of an inner step.
        inner_steps: number of inner steps from θ to a task's weights.
        second_order: whether the outer gradient passes through the inner step.
        tasks_per_step: maximum number of tasks per batch; a task is a domain.
        support_rows: maximum number of training rows of its domain to which a task adapts.
        minimum_rows: minimum number of training rows of a task's domain.
        adapt_before_test: whether the weights adapt to a domain by inner steps before its rows are scored.
        test_support_rows: maximum number of training rows per domain for this adaptation before scoring.
    """

    inner_learning_rate: Annotated[float, Between(0)]
    inner_steps: Annotated[int, Between(1)]
    second_order: bool
    tasks_per_step: Annotated[int, Between(1)]
    support_rows: Annotated[int, Between(2)]
    minimum_rows: Annotated[int, Between(4)]
    adapt_before_test: bool
    test_support_rows: Annotated[int, Between(2)]
