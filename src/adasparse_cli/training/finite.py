"""Numbers that are not finite: noticed before they are kept, and traced to where they came from."""

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
    """Stops at a loss that is not finite: on the CPU before the step is taken, on a GPU some steps later.

    On a GPU the number of the first such step stays on the device, and the host looks at it every EVERY steps. Whatever is
    saved or logged calls `settle` first, so nothing bad is ever kept.

    Args:
        not_finite: the error for a step, counted from 0, and its rows; None where these are not known any more.
    """

    def __init__(self, not_finite: Callable[[int, Any], NumericError]) -> None:
        self._not_finite = not_finite
        self._first: Tensor | None = None
        self._waiting = 0

    def look(self, loss: Tensor, step: int, rows: Any) -> None:
        """Look at the loss of a step.

        Raises:
            NumericError: it, or on a GPU one of the steps before, is not finite.
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
        """Look at the steps whose loss has not been looked at.

        Raises:
            NumericError: the loss of one of them is not finite.
        """
        if self._waiting and self._first is not None:
            self._waiting, step = 0, int(self._first)
            if step != _NONE:
                raise self._not_finite(step, None)


def first_not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of the first tensor that holds NaN or an infinity; None where all are finite."""
    for name, tensor in tensors.items():
        # a sum is not finite where a value is not, and reads memory once; one that overflows is looked at again
        if tensor.is_floating_point() and not torch.isfinite(tensor.sum()) and not torch.isfinite(tensor).all():
            return name
    return None


def first_bad_layer(model: Model, batch: Batch) -> str:
    """Name of the first part whose weights or output on these rows are not finite."""
    parameter = first_not_finite(dict(model.named_parameters()))
    if parameter is not None:
        return parameter
    found: list[str] = []

    def look(name: str) -> Callable[[torch.nn.Module, Any, Any], None]:
        def hook(module: torch.nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and not torch.isfinite(output).all():
                found.append(name)

        return hook

    hooks = [part.register_forward_hook(look(name)) for name, part in model.named_modules() if name]
    with torch.no_grad():
        model(batch)
    for hook in hooks:
        hook.remove()
    return found[0] if found else "the loss itself"
