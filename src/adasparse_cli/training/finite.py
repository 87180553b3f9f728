"""Detect values that are not finite before they are saved, and find the layer that they come from."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from adasparse_cli.batches import Batch
from adasparse_cli.errors import NumericError
from adasparse_cli.models.base import Model


class LossWatch:
    """Raises an error for a loss that is not finite: on the CPU before the step, on a GPU one step later.

    On a GPU a flag is copied asynchronously and checked with the loss of the next step. Every save calls `settle` first, so
    weights after such a loss are never saved.

    Args:
        not_finite: the error for the rows of a step.
    """

    def __init__(self, not_finite: Callable[[Any], NumericError]) -> None:
        self._not_finite = not_finite
        self._flagged: tuple[Tensor, torch.cuda.Event, Any] | None = None

    def look(self, loss: Tensor, rows: Any) -> None:
        """Check the loss of these rows.

        Raises:
            NumericError: the loss is not finite; on a GPU, the loss of the step before.
        """
        if loss.device.type == "cpu":
            if not math.isfinite(loss.item()):
                raise self._not_finite(rows)
            return
        self.settle()
        flag = torch.empty((), dtype=torch.bool, pin_memory=True)
        flag.copy_(torch.isfinite(loss), non_blocking=True)
        copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        copied.record()
        self._flagged = flag, copied, rows

    def settle(self) -> None:
        """Check the loss of the last step if it was not checked yet.

        Raises:
            NumericError: it is not finite.
        """
        if self._flagged is not None:
            flag, copied, rows = self._flagged
            self._flagged = None
            copied.synchronize()
            if not flag:
                raise self._not_finite(rows)


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
