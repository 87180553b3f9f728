"""Sum the gradients of all ranks, so that every rank takes the same step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, distributed, nn

from adasparse_cli.training.optimiser import summed_by_row

_NONE = -1  # instead of a number of rows: this rank has no gradient


@torch.no_grad()
def sum_gradients(dense: Sequence[nn.Parameter], tables: Mapping[str, nn.Parameter]) -> None:
    """Replace each gradient by its sum over all ranks.

    Dense gradients are sent in one buffer. Of a table, each rank sends each row that its part of the batch used once: an
    index of 8 bytes and the values of the row.
    """
    _sum_dense(dense)
    for table in tables.values():
        if table.grad is not None and not table.grad.is_sparse:
            distributed.all_reduce(table.grad)
        else:
            _sum_rows(table)


def sum_values(values: Tensor) -> Tensor:
    """The sum of values over all ranks."""
    distributed.all_reduce(values)
    return values


def gathered(values: Tensor, lengths: Sequence[int]) -> Tensor:
    """The rows of all ranks, concatenated in the order of ranks. `lengths` has the number of rows of each rank."""
    longest = max(lengths)
    padded = values.new_zeros(longest, *values.shape[1:])
    padded[: len(values)] = values
    parts = [torch.empty_like(padded) for _ in lengths]
    distributed.all_gather(parts, padded)
    return torch.cat([part[:length] for part, length in zip(parts, lengths, strict=True)])


def _sum_dense(parameters: Sequence[nn.Parameter]) -> None:
    """Sum dense gradients. A parameter that no rank used still has no gradient, as in one process."""
    if not parameters:
        return
    first = parameters[0]
    used = torch.tensor([float(part.grad is not None) for part in parameters], dtype=first.dtype, device=first.device)
    flat = torch.cat(
        [used, *(torch.zeros_like(part).flatten() if part.grad is None else part.grad.flatten() for part in parameters)]
    )
    distributed.all_reduce(flat)
    start = len(parameters)
    for count, part in zip(flat[:start].tolist(), parameters, strict=True):
        if count:
            part.grad = flat[start : start + part.numel()].view_as(part).clone()
        start += part.numel()


def _sum_rows(table: nn.Parameter) -> None:
    gradient, table.grad = table.grad, None
    if gradient is None:
        ids, values = table.new_zeros(0, dtype=torch.long), table.new_zeros(0, *table.shape[1:])
    else:
        ids, values = summed_by_row(gradient._indices()[0], gradient._values())
    count_here = torch.tensor([_NONE if gradient is None else len(ids)], device=table.device)
    every = [torch.empty_like(count_here) for _ in range(distributed.get_world_size())]
    distributed.all_gather(every, count_here)
    counts = [int(count) for count in torch.cat(every).tolist()]
    if all(count == _NONE for count in counts):
        return
    lengths = [max(count, 0) for count in counts]
    if not any(lengths):
        ids, values = ids[:0], values[:0]
    else:
        ids, values = summed_by_row(gathered(ids, lengths), gathered(values, lengths))
    table.grad = torch.sparse_coo_tensor(
        ids.unsqueeze(0), values, table.shape, is_coalesced=True, check_invariants=False
    )
