"""Builds models without values: the cost of a model depends only on its shapes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class _WithoutValues(TorchFunctionMode):
    """Skips operations that only set values. For tensors without values, torch runs them with parts of its compiler, which take more
    than a second to load.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        match getattr(func, "__name__", ""), args:
            case "normal_" | "uniform_" | "copy_", (torch.Tensor() as own, *_):
                return own
            case "mul" | "__mul__", (torch.Tensor() as own, float()):
                return own
            case "randn" | "rand", sizes:
                return torch.empty(*sizes)
            case "cat", (list() as parts,):
                return parts[0].new_empty(sum(len(part) for part in parts), *parts[0].shape[1:])
            case "eye", (int() as size,):
                return torch.empty(size, size)
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def unfilled() -> Iterator[None]:
    """Tensors created here have shapes but no values; nothing is allocated and no random numbers are drawn."""
    with torch.device("meta"), _WithoutValues():
        yield
