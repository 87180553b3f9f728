"""Adam that updates only the rows of a table that a batch used."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.adam import adam

from adasparse_cli.layers.waits import may_wait
from adasparse_cli.machine.resources import prefer_large_pages

# From this row length on, one fused update per row is faster than copying rows out and back.
_LONG_ROW = 1024


class TouchedRowsAdam:
    """Adam on the rows of a table (embeddings, or one domain's weights per row) that have a gradient in this step.

    For each such row, with g the sum of its gradients over the batch and t the number of steps so far:

        m ← β₁ m + (1 − β₁) g,   u ← β₂ u + (1 − β₂) g²
        w ← w − η (m / (1 − β₁ᵗ)) / (√(u / (1 − β₂ᵗ)) + eps)

    Difference from dense Adam: a row that was not used keeps its weights and moments. Dense Adam would let its moments decay
    and continue to move the row. Rows that are used in every step are updated exactly as in dense Adam. If `own_steps` is
    False, t counts all steps of the table, as in `SparseAdam`: a row that is first used late moves by up to 3.2 η in its
    first step, because u is still small and no longer bias-corrected. If it is True, t counts the steps of the row, and the
    first move is η. The cost of a step depends on the batch, not on the table.

    Source: Kingma and Ba, Adam, ICLR 2015. `torch.optim.SparseAdam` has the same restriction to used rows, but adds eps
    before the bias correction; this class adds it as dense Adam does.

    Args:
        weight: the table. Its gradient is sparse in the first dimension, or dense; rows of zeros in a dense gradient count as
            not used.
        betas: β₁, β₂.
        eps: the constant in the denominator.
        own_steps: whether t counts the steps of a row instead of the table.
    """

    def __init__(
        self, weight: nn.Parameter, *, betas: tuple[float, float], eps: float, own_steps: bool = False
    ) -> None:
        self.weight = weight
        self.betas = betas
        self.eps = eps
        self.steps = 0
        self.row_steps = torch.zeros(len(weight), device=weight.device) if own_steps else None
        self.first_moment = torch.zeros_like(weight.data)
        self.second_moment = torch.zeros_like(weight.data)
        for table in (weight.data, self.first_moment, self.second_moment):
            prefer_large_pages(table)

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Update the rows that have a gradient, and clear the gradient."""
        gradient = self.weight.grad
        if gradient is None:
            return
        self.steps += 1
        self.weight.grad = None
        if not gradient.is_sparse:
            if not may_wait(gradient.device):
                self.update_masked(gradient.ne(0).any(dim=1), gradient, learning_rate)
                return
            used = gradient.ne(0).any(dim=1).nonzero().flatten()
            self.update_gathered(used, gradient.index_select(0, used), learning_rate)
            return
        ids, values = gradient._indices()[0], gradient._values()
        if values[:1].numel() < _LONG_ROW and not may_wait(values.device):
            self.update_gathered(*padded_sums(ids, values), learning_rate)
        elif values[:1].numel() < _LONG_ROW:
            self.update_gathered(*summed_by_row(ids, values), learning_rate)
        else:
            # autograd loses the flag that rows are unique, and summing long rows again is expensive
            once = bool((ids[1:] > ids[:-1]).all())
            self._update_in_place(*((ids, values) if once else summed_by_row(ids, values)), learning_rate)

    def update_masked(self, used: Tensor, g: Tensor, learning_rate: float) -> None:
        """The rows of a small table that are marked: all are computed, and the others put back as they were."""
        rows, tables = torch.arange(len(used), device=used.device), (self.weight, self.first_moment, self.second_moment)
        kept = [*(table.clone() for table in tables), None if self.row_steps is None else self.row_steps.clone()]
        self.update_gathered(rows, g, learning_rate)
        for table, before in zip((*tables, self.row_steps), kept, strict=True):
            if table is not None and before is not None:
                table.copy_(torch.where(used.view(-1, *[1] * (table.dim() - 1)), table, before))

    def update_gathered(self, rows: Tensor, g: Tensor, learning_rate: float) -> None:
        """Update many short rows: copy them out, update them together, copy them back."""
        beta1, beta2 = self.betas
        m = self.first_moment.index_select(0, rows).lerp_(g, 1 - beta1)
        u = self.second_moment.index_select(0, rows).mul_(beta2).addcmul_(g, g, value=1 - beta2)
        self.first_moment.index_copy_(0, rows, m)
        self.second_moment.index_copy_(0, rows, u)
        if self.row_steps is None:
            denominator = u.div_(1 - beta2**self.steps).sqrt_().add_(self.eps)
            update = m.div_(denominator).mul_(-learning_rate / (1 - beta1**self.steps))
        else:
            t = self._counted(rows).unsqueeze(1)
            denominator = u.div_(1 - beta2**t).sqrt_().add_(self.eps)
            update = m.div_(denominator).div_(1 - beta1**t).mul_(-learning_rate)
        self.weight.index_copy_(0, rows, self.weight.index_select(0, rows).add_(update))

    def _update_in_place(self, rows: Tensor, g: Tensor, learning_rate: float) -> None:
        """Update few long rows with torch's fused Adam on views, which reads memory once."""
        places = rows.tolist()
        t = None if self.row_steps is None else self._counted(rows)
        adam(
            [self.weight.data[place] for place in places],
            list(g.unbind()),
            [self.first_moment[place] for place in places],
            [self.second_moment[place] for place in places],
            [],
            # torch increments the step
            list(
                (torch.full((len(places),), float(self.steps), device=g.device) if t is None else t).sub(1.0).unbind()
            ),
            fused=True,
            amsgrad=False,
            beta1=self.betas[0],
            beta2=self.betas[1],
            lr=learning_rate,
            weight_decay=0.0,
            eps=self.eps,
            maximize=False,
        )

    def _counted(self, rows: Tensor) -> Tensor:
        """Increment and return the number of steps of these rows. In fp32, exact up to 16 million steps."""
        assert self.row_steps is not None
        t = self.row_steps.index_select(0, rows).add_(1.0)
        self.row_steps.index_copy_(0, rows, t)
        return t

    def state(self) -> dict[str, Tensor]:
        """The tensors that a checkpoint needs besides the weights."""
        state = {
            "first_moment": self.first_moment,
            "second_moment": self.second_moment,
            "steps": torch.tensor(self.steps),
        }
        return state if self.row_steps is None else {**state, "row_steps": self.row_steps}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Restore a saved state."""
        self.first_moment.copy_(state["first_moment"])
        self.second_moment.copy_(state["second_moment"])
        self.steps = int(state["steps"])
        if self.row_steps is not None:
            self.row_steps.copy_(state["row_steps"])


def padded_sums(ids: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """As many ids as were given, each distinct one with the sum of its values; the first one fills the rest, with its sum.

    So nobody has to wait for the number of distinct ids, and an update that computes each place and writes it back writes the
    same for places of the same id.
    """
    number = len(ids)
    if not number:
        return ids, values
    ordered, order = torch.sort(ids, stable=True)
    place = torch.zeros_like(ids)
    place[1:] = (ordered[1:] != ordered[:-1]).cumsum(0)
    rows = ordered[:1].expand(number).clone().scatter_(0, place, ordered)
    unsorted = torch.empty_like(place).scatter_(0, order, place)
    sums = torch.ops.aten.embedding_dense_backward(values.flatten(1), unsorted, number, -1, False)
    numbers = torch.arange(number, device=ids.device)
    source = torch.where(numbers <= place[-1:], numbers, 0)
    return rows, sums.index_select(0, source).view_as(values)


def summed_by_row(ids: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """The distinct ids, and the sum of the values of each id, added in order."""
    if not may_wait(values.device):
        # embedding_bag was measured only on CPUs; on a GPU, large bags (fields with few levels) may be summed serially
        rows, place = torch.unique(ids, return_inverse=True)
        sums = torch.ops.aten.embedding_dense_backward(values.flatten(1), place, len(rows), -1, False)
        return rows, sums.view(len(rows), *values.shape[1:])
    ordered, order = torch.sort(ids, stable=True)
    rows, counts = torch.unique_consecutive(ordered, return_counts=True)
    # embedding_bag sums with vector instructions; torch's gradient of a dense embedding calls BLAS per row
    sums = functional.embedding_bag(order, values.flatten(1), counts.cumsum(0) - counts, mode="sum")
    return rows, sums.view(len(rows), *values.shape[1:])
