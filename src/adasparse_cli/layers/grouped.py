"""Separate weights per group of rows, at the cost of one pass over the rows: sort, then multiply in groups."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class Groups:
    """Rows sorted by group.

    Args:
        order: rows in the order of their groups. back: the inverse of `order`.
        members: ids of the groups that are present, ascending; `places` has the same numbers on the CPU.
        bounds: group k has the sorted rows from `bounds[k]` to `bounds[k + 1]`.
    """

    order: Int[Tensor, " rows"]
    back: Int[Tensor, " rows"]
    members: Int[Tensor, " groups"]
    places: tuple[int, ...]
    bounds: tuple[int, ...]

    def rows(self, x: Tensor) -> tuple[Tensor, ...]:
        """The part of each group, from rows already in the order of the groups."""
        return torch.split(x, [end - start for start, end in itertools.pairwise(self.bounds)])

    def weights(self, of_all: Tensor) -> list[Tensor]:
        """The entries of the groups that are present, from one entry for every group."""
        entries = of_all.unbind()
        return [entries[place] for place in self.places]

    def repeated(self, times: int) -> Groups:
        """The groups if each row is repeated `times` times in succession."""
        steps = torch.arange(times, device=self.order.device)
        order = (self.order.unsqueeze(1) * times + steps).flatten()
        back = (self.back.unsqueeze(1) * times + steps).flatten()
        return Groups(order, back, self.members, self.places, tuple(bound * times for bound in self.bounds))

    def numbered(self) -> Groups:
        """The same groups numbered from 0, for weights of these groups only."""
        members = torch.arange(len(self.members), device=self.order.device)
        return Groups(self.order, self.back, members, tuple(range(len(self.places))), self.bounds)


def group_rows(ids: Int[Tensor, " rows"]) -> Groups:
    """Sort rows by their group; rows of a group keep their order."""
    ordered, order = torch.sort(ids, stable=True)
    members, counts = torch.unique_consecutive(ordered, return_counts=True)
    back = torch.empty_like(order)
    back[order] = torch.arange(len(order), device=order.device)
    # one device synchronisation for all numbers that the products need on the CPU
    places, ends = torch.stack([members, counts.cumsum(0)]).tolist()
    return Groups(order, back, members, tuple(places), (0, *ends))


class DomainTable(nn.Module):
    """Separate parameters per domain, and one additional set for domains that are unseen in training.

    `weight[d]` belongs to domain d. `weight[-1]` keeps its initial value, because no training row
    reads it. The gradient is sparse: only domains in the batch have one, and only their rows are
    updated (`training.optimiser.TouchedRowsAdam`).

    Args:
        num_domains: number of domains in training.
        initial: initial parameters of each domain.
    """

    def __init__(self, num_domains: int, initial: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(initial.expand(num_domains + 1, *initial.shape).clone())

    def forward(self, places: Int[Tensor, " rows"]) -> Float[Tensor, "rows width"]:
        """The parameters of each row's domain, if they are one vector; use `grouped_linear` for matrices."""
        return functional.embedding(places, self.weight, sparse=True)


def grouped_linear(
    x: Float[Tensor, "rows inputs"],
    groups: Groups,
    weights: Float[Tensor, "all_groups outputs inputs"],
    *,
    shared: Float[Tensor, "outputs inputs"] | None = None,
    sparse: bool,
) -> Float[Tensor, "rows outputs"]:
    """y_i = W_g x_i, or (W_g ⊙ W) x_i with a shared W, where g is the group of row i.

    Args:
        x: rows, already in the order of `groups`; the result has the same order.
        weights: one matrix per group; `groups.members` are its indices.
        shared: W.
        sparse: whether `weights` receives a sparse gradient, with only the groups that are present. Otherwise
            all groups of `weights` must be present.
    """
    result: Tensor = _GroupedLinear.apply(x, weights, shared, groups, sparse)  # type: ignore[no-untyped-call]
    return result


class _GroupedLinear(torch.autograd.Function):
    """One matrix product per group, into one result. Only one product W_g ⊙ W is in memory at a time."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weights: Tensor, shared: Tensor | None, groups: Groups, sparse: bool) -> Tensor:
        ctx.save_for_backward(x, weights, shared)
        ctx.groups, ctx.sparse = groups, sparse
        y = x.new_empty(x.shape[0], weights.shape[1])
        effective = None if shared is None else torch.empty_like(shared)
        for own, own_x, own_y in zip(groups.weights(weights), groups.rows(x), groups.rows(y), strict=True):
            used = own if shared is None else torch.mul(own, shared, out=effective)
            torch.mm(own_x, used.t(), out=own_y)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None, None, None]:
        gradient = gradients[0].contiguous()
        x, weights, shared = ctx.saved_tensors
        groups: Groups = ctx.groups
        of_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        of_shared = None if shared is None else torch.zeros_like(shared)
        effective = None if shared is None else torch.empty_like(shared)
        of_weights = weights.new_empty(len(groups.members), *weights.shape[1:])
        into = itertools.repeat(None) if of_x is None else groups.rows(of_x)
        parts = groups.weights(weights), of_weights.unbind(), groups.rows(gradient), groups.rows(x)
        for own, of_own, g, own_x, of_own_x in zip(*parts, into, strict=False):
            used = own
            if shared is None:
                torch.mm(g.t(), own_x, out=of_own)
            else:
                product = torch.mm(g.t(), own_x, out=effective)
                torch.mul(product, shared, out=of_own)
                assert of_shared is not None
                of_shared.addcmul_(product, own)
                used = torch.mul(own, shared, out=effective)
            if of_own_x is not None:
                torch.mm(g, used, out=of_own_x)
        found = of_weights
        if ctx.sparse:
            found = torch.sparse_coo_tensor(
                groups.members.unsqueeze(0), of_weights, weights.shape, is_coalesced=True, check_invariants=False
            )
        return of_x, found, of_shared, None, None
