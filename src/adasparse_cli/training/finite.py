"""Detect values that are not finite before they are saved, and find the layer that they come from."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from adasparse_cli.batches import Batch
from adasparse_cli.errors import NumericError
from adasparse_cli.layers.waits import may_wait
from adasparse_cli.models.base import Model

EVERY = 32  # steps after which a GPU is asked whether its losses were finite
_NONE = 2**62


class LossWatch:
    """Raises an error for a loss that is not finite: on the CPU before the step, on a GPU some steps later.

    On a GPU the number of the first such step stays on the device, and the host reads it every EVERY steps. Every save and log
    calls `settle` first, so weights after such a loss are never saved.

    Args:
        not_finite: the error for a step, counted from 0, and its rows; None where these are not known any more.
    """

    def __init__(self, not_finite: Callable[[int, Any], NumericError]) -> None:
        self._not_finite = not_finite
        self._first: Tensor | None = None
        self._waiting = 0

    def look(self, loss: Tensor, step: int, rows: Any) -> None:
        """Check the loss of a step.

        Raises:
            NumericError: the loss is not finite; on a GPU, the loss of one of the steps before.
        """
        if may_wait(loss.device):
            if not math.isfinite(loss.item()):
                raise self._not_finite(step, rows)
            return
        if self._first is None:
            self._first = torch.full((), _NONE, dtype=torch.long, device=loss.device)
        self._first.clamp_(max=torch.where(torch.isfinite(loss), _NONE, step))
        self._waiting += 1
        if self._waiting == EVERY:
            self.settle()

    def settle(self) -> None:
        """Check the steps whose loss was not checked yet.

        Raises:
            NumericError: the loss of one of them is not finite.
        """
        if self._waiting and self._first is not None:
            self._waiting, step = 0, int(self._first)
            if step != _NONE:
                raise self._not_finite(step, None)


def first_not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of the first tensor with NaN or an infinity; None if all are finite."""
    for name, tensor in tensors.items():
        # the sum reads memory once; a sum can also overflow, so every value is checked if it is not finite
        if tensor.is_floating_point() and not torch.isfinite(tensor.sum()) and not torch.isfinite(tensor).all():
            return name
    return None


def first_bad_layer(model: Model, batch: Batch) -> str:
    """Name of the first parameter that is not finite, or of the first module whose output on these rows is not finite."""
    parameter = first_not_finite(dict(model.named_parameters()))
    if parameter is not None:
        return parameter
    bad: list[str] = []

    def check(name: str) -> Callable[[torch.nn.Module, Any, Any], None]:
        def hook(module: torch.nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and not torch.isfinite(output).all():
                bad.append(name)

        return hook

    hooks = [part.register_forward_hook(check(name)) for name, part in model.named_modules() if name]
    with torch.no_grad():
        model(batch)
    for hook in hooks:
        hook.remove()
    return bad[0] if bad else "the loss itself"
