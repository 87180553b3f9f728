"""MAML's own settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from adasparse_cli.choices import Between
from adasparse_cli.training.settings import LoopSettings


@dataclass(frozen=True, kw_only=True)
class MamlSettings(LoopSettings):
    """MAML's own settings, beside those of the standard loop.

    Args:
        inner_learning_rate: a, the size of an inner step.
        inner_steps: steps from θ to a task's weights.
        second_order: whether the outer gradient passes through the inner step.
        tasks_per_step: domains of a batch that are tasks, at most.
        support_rows: training rows of a domain that a task adapts to, at most.
        minimum_rows: training rows from which on a domain can be a task.
        adapt_before_test: whether a domain takes inner steps before its rows are scored.
        test_support_rows: training rows of a domain that it adapts to before a test, at most.
    """

    inner_learning_rate: Annotated[float, Between(0)]
    inner_steps: Annotated[int, Between(1)]
    second_order: bool
    tasks_per_step: Annotated[int, Between(1)]
    support_rows: Annotated[int, Between(2)]
    minimum_rows: Annotated[int, Between(4)]
    adapt_before_test: bool
    test_support_rows: Annotated[int, Between(2)]
