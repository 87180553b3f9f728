"""Numbers that are not finite: noticed before they are kept, and traced to where they came from."""

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
    """Stops at a loss that is not finite: on the CPU before the step is taken, on a GPU one step later.

    On a GPU a flag is copied while the device works, and looked at when the next step's loss is there. Whatever is saved
    calls `settle` first, so nothing bad is ever kept.

    Args:
        not_finite: the error for the rows of a step.
    """

    def __init__(self, not_finite: Callable[[Any], NumericError]) -> None:
        self._not_finite = not_finite
        self._flagged: tuple[Tensor, torch.cuda.Event, Any] | None = None

    def look(self, loss: Tensor, rows: Any) -> None:
        """Look at the loss of these rows.

        Raises:
            NumericError: it, or on a GPU the one before, is not finite.
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
        """Look at the loss of the last step, where that has not been done.

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
