"""Adam that touches only the rows of a table that a batch used."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.adam import adam

from adasparse_cli.layers.waits import may_wait
from adasparse_cli.training.machine import prefer_large_pages

# Numbers per row from which a view and a call of its own per row cost less than copying rows out and in.
_LONG_ROW = 1024


class TouchedRowsAdam:
    """Adam on the rows of a table (of embeddings, or of one domain's weights each) that have a gradient in this step.

    For each such row, with g the sum of its gradients over the batch and t the number of steps so far:

        m ← β₁ m + (1 − β₁) g,   u ← β₂ u + (1 − β₂) g²
        w ← w − η (m / (1 − β₁ᵗ)) / (√(u / (1 − β₂ᵗ)) + eps)

    How it differs from dense Adam: a row that was not used keeps its weights and moments as they
    are, where dense Adam would let its moments decay and go on moving it by what is left of them. Rows used in every
    step are updated exactly as dense Adam would. Where `own_steps` is False, t counts all steps of the table, as in
    `SparseAdam`: a row first met late moves up to 3.2 η in its first step, since u is still small and no longer
    corrected for it. Where it is True, t counts the steps of the row, whose first move is η.
    The cost of a step depends on the batch, not on the table.

    Source: Kingma and Ba, Adam, ICLR 2015; the restriction to touched rows is that of
    `torch.optim.SparseAdam`, which adds eps before the bias correction, where we follow dense Adam.

    Args:
        weight: the table. Its gradient is sparse in its first dimension; of a dense one, rows of zeros count as not used.
        betas: β₁, β₂. eps: the constant in the denominator.
        own_steps: what t counts.
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
        """Update the rows that have a gradient, and drop the gradient."""
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
            # autograd drops the mark that a gradient holds each row once, and long rows are dear to sum again
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
        """Many short rows: take them out, update them together, put them back."""
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
        """Few long rows: torch's fused Adam on a view of each, which passes over memory once."""
        places = rows.tolist()
        t = None if self.row_steps is None else self._counted(rows)
        adam(
            [self.weight.data[place] for place in places],
            list(g.unbind()),
            [self.first_moment[place] for place in places],
            [self.second_moment[place] for place in places],
            [],
            # torch counts the step up itself
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
        """Count a step of these rows; how many each has had. As fp32: exact to 16 million steps."""
        assert self.row_steps is not None
        t = self.row_steps.index_select(0, rows).add_(1.0)
        self.row_steps.index_copy_(0, rows, t)
        return t

    def state(self) -> dict[str, Tensor]:
        """What has to be saved beside the weights."""
        found = {
            "first_moment": self.first_moment,
            "second_moment": self.second_moment,
            "steps": torch.tensor(self.steps),
        }
        return found if self.row_steps is None else {**found, "row_steps": self.row_steps}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a saved state."""
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
    """The distinct ids, and for each the sum of its values, added in the order they stand."""
    if not may_wait(values.device):
        # bags were measured on CPUs alone; a GPU may walk value by value through one of thousands, as fields of few levels have
        rows, place = torch.unique(ids, return_inverse=True)
        sums = torch.ops.aten.embedding_dense_backward(values.flatten(1), place, len(rows), -1, False)
        return rows, sums.view(len(rows), *values.shape[1:])
    ordered, order = torch.sort(ids, stable=True)
    rows, counts = torch.unique_consecutive(ordered, return_counts=True)
    # a bag is summed in wide registers; torch's gradient of a dense embedding, which does the same, calls BLAS per row
    sums = functional.embedding_bag(order, values.flatten(1), counts.cumsum(0) - counts, mode="sum")
    return rows, sums.view(len(rows), *values.shape[1:])
