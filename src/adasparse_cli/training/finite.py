"""Where a number that is not finite came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from adasparse_cli.batches import Batch
from adasparse_cli.models.base import Model


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
