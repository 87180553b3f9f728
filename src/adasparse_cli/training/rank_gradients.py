"""Gradients of all ranks added up, so that every rank takes the same step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, distributed, nn

from adasparse_cli.training.optimiser import summed_by_row

_NONE = -1  # instead of a number of rows: this rank has no gradient


@torch.no_grad()
def sum_gradients(dense: Sequence[nn.Parameter], tables: Mapping[str, nn.Parameter]) -> None:
    """Put the sum over all ranks in the place of each gradient.

    Dense gradients travel in one buffer. Of a table, each rank sends the rows that its part of the batch used, once each:
    numbers of 8 bytes and as many floats as a row has.
    """
    _sum_dense(dense)
    for table in tables.values():
        if table.grad is not None and not table.grad.is_sparse:
            distributed.all_reduce(table.grad)
        else:
            _sum_rows(table)


def sum_values(values: Tensor) -> Tensor:
    """The sum over all ranks of some numbers."""
    distributed.all_reduce(values)
    return values


def gathered(values: Tensor, lengths: Sequence[int]) -> Tensor:
    """Rows of all ranks, one behind the other, where every rank knows how many each has."""
    longest = max(lengths)
    padded = values.new_zeros(longest, *values.shape[1:])
    padded[: len(values)] = values
    parts = [torch.empty_like(padded) for _ in lengths]
    distributed.all_gather(parts, padded)
    return torch.cat([part[:length] for part, length in zip(parts, lengths, strict=True)])


def _sum_dense(parameters: Sequence[nn.Parameter]) -> None:
    """A parameter that no rank's rows used keeps having no gradient, as in one process."""
    if not parameters:
        return
    first = parameters[0]
    used = torch.tensor([float(one.grad is not None) for one in parameters], dtype=first.dtype, device=first.device)
    flat = torch.cat(
        [used, *(torch.zeros_like(one).flatten() if one.grad is None else one.grad.flatten() for one in parameters)]
    )
    distributed.all_reduce(flat)
    start = len(parameters)
    for count, one in zip(flat[:start].tolist(), parameters, strict=True):
        if count:
            one.grad = flat[start : start + one.numel()].view_as(one).clone()
        start += one.numel()


def _sum_rows(table: nn.Parameter) -> None:
    gradient, table.grad = table.grad, None
    if gradient is None:
        ids, values = table.new_zeros(0, dtype=torch.long), table.new_zeros(0, *table.shape[1:])
    else:
        ids, values = summed_by_row(gradient._indices()[0], gradient._values())
    own = torch.tensor([_NONE if gradient is None else len(ids)], device=table.device)
    every = [torch.empty_like(own) for _ in range(distributed.get_world_size())]
    distributed.all_gather(every, own)
    counts = [int(one) for one in torch.cat(every).tolist()]
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
