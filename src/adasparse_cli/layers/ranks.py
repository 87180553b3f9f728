"""Sums over the processes (ranks) that train one model together.

Each rank has a part of a batch's rows. Inside `together`, what depends on all rows of a batch is computed from sums over all
ranks; outside of it, and in one process, a sum is the value itself. The objective is the sum over ranks of their losses and
penalties, weighted by their share of the rows; so every rank computes the gradient of its term, and the gradients are added.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, distributed

_joined = False


def world_size() -> int:
    """Number of processes; 1 without a process group."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def rank() -> int:
    """This process's number, from 0."""
    return distributed.get_rank() if world_size() > 1 else 0


def are_joined() -> bool:
    """Whether sums are over several ranks now."""
    return _joined


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Inside, every rank passes its part of the same batch through the same model."""
    global _joined
    before, _joined = _joined, world_size() > 1
    try:
        yield
    finally:
        _joined = before


class _Summed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        # every rank's term of the objective depends on the sum
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total


def summed(x: Tensor) -> Tensor:
    """The sum of `x` over all ranks, with its gradient."""
    if not _joined:
        return x
    found: Tensor = _Summed.apply(x)  # type: ignore[no-untyped-call]
    return found


def mean_over_rows(x: Tensor) -> Tensor:
    """The mean over the first dimension, over the rows of all ranks."""
    if not _joined:
        return x.mean(0)
    count = torch.full((), float(len(x)), dtype=x.dtype, device=x.device)
    return summed(x.sum(0)) / summed(count)
