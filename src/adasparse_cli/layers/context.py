"""The domain context, the input of a model that describes a row's domain; and the share of a layer that depends on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from adasparse_cli.choices import ContextNormalisation, FieldRole, Pooling
from adasparse_cli.layers.embedding import Bags, FieldEmbedding
from adasparse_cli.layers.settings import ContextSettings
from adasparse_cli.layers.waits import may_wait
from adasparse_cli.schema import Field

# With fewer rows per known condition, only the conditions of the batch are computed. On two cores, finding them
# takes less time than a layer of 256 neurons takes for the other conditions.
ROWS_PER_CONDITION = 8


@dataclass(frozen=True, slots=True)
class Context:
    """Numbers that depend only on a row's condition, computed once per condition.

    Args:
        values: one row of numbers per condition. of_row: for each row of the batch, its row of `values`.
    """

    values: Float[Tensor, "conditions width"]
    of_row: Int[Tensor, " rows"]

    def map(self, function: Callable[[Tensor], Tensor]) -> Context:
        """Apply a function of the condition."""
        return Context(function(self.values), self.of_row)

    def by_row(self) -> Float[Tensor, "rows width"]:
        """The numbers of each row."""
        # F.embedding is index_select with a backward pass that uses all cores
        return functional.embedding(self.of_row, self.values)


class DomainContext(nn.Module):
    """c = g · normalise([T_1[id_1] ; … ; T_F[id_F]]) over the domain-aware fields, including the id of the combination.

    The tables belong to the context only, so a control arm that receives another row's domain never trains the embeddings
    that the tower reads. Id 0 of each field (unseen in training) starts at zero: a domain that is unseen in training is
    represented by its key fields.

    The gradient is dense: a table has as many rows as the domain-aware field has values.

    Args:
        fields: all fields of the data, in the manifest's order.
        bags: per multi-valued field its bags.
        pooling: how the values of a bag become one embedding.

    Source: separate tables, gain and normalisation are this project's. The papers describe a single embedding of the domain.
    """

    def __init__(
        self, fields: Sequence[Field], bags: Mapping[str, Bags], settings: ContextSettings, *, pooling: Pooling
    ) -> None:
        super().__init__()
        aware = [field for field in fields if field.role is FieldRole.domain_aware]
        self.table = FieldEmbedding(aware, bags, width=settings.width, std=settings.std, pooling=pooling, sparse=False)
        self.width = self.table.aware_width
        self.normalised = settings.normalisation is ContextNormalisation.layer
        self.gain = None if settings.gain is None else nn.Parameter(torch.tensor(settings.gain))

    def forward(
        self,
        conditions: Int[Tensor, "conditions domain_fields"],
        condition_ids: Int[Tensor, " rows"],
        *,
        only_present: bool = False,
    ) -> Context:
        """The context of each row, for all conditions or only for the conditions in the batch."""
        few = len(condition_ids) < ROWS_PER_CONDITION * len(conditions) and may_wait(condition_ids.device)
        if only_present or few:
            distinct, condition_ids = torch.unique(condition_ids, return_inverse=True)
            conditions = conditions.index_select(0, distinct)
        values = self.table(conditions)
        if self.normalised:
            values = functional.layer_norm(values, (self.width,))
        return Context(values if self.gain is None else values * self.gain, condition_ids)


class ReadsContext(nn.Module):
    """A part of a model whose output combines the domain context with other inputs; `context_shares` measures these.

    Its `forward` takes a `Context` and changes no state in evaluation.
    """


def context_shares(model: nn.Module, run: Callable[[], Any], *, seed: int) -> dict[str, float]:
    """The share of each part that depends on the context.

    For a part with output y(x, c), where c is the context and x all other inputs, over the rows that `run` passes through:

        share = E[(y(x, c) − y(x, c′))²] / (2 Var y(x, c))      averaged over outputs weighted by their variance

    where c′ is the context of another row, drawn at random. For y = f(x) + g(c) with independent x and c it is
    Var g / (Var f + Var g). If x and c are dependent it can exceed 1, and is clipped to 1.

    Args:
        model: in evaluation mode. run: passes rows through it once. seed: of the random draw.

    Returns:
        Per part, by its name in the model, a share (0–1). Parts with constant output are omitted.

    Source: the total-effect index and its estimator of Jansen, Comput. Phys. Commun. 117 (1999).
    """
    found: dict[str, float] = {}
    generator = torch.Generator().manual_seed(seed)

    def look(name: str) -> Callable[..., None]:
        def hook(part: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> None:
            context = next(one for one in (*args, *kwargs.values()) if isinstance(one, Context))
            rows = torch.randint(len(context.of_row), (len(context.values),), generator=generator)
            donors = context.of_row[rows.to(context.of_row.device)]
            # another context per condition, drawn in proportion to its number of rows
            other = Context(context.values[donors], context.of_row)
            swapped = part.forward(
                *(other if one is context else one for one in args),
                **{key: other if one is context else one for key, one in kwargs.items()},
            )
            variance = float(output.var(dim=0, unbiased=False).sum())
            if variance > 0:
                followed = float((output - swapped).square().mean(dim=0).sum())
                found[name] = min(1.0, followed / (2 * variance))

        return hook

    hooks = [
        part.register_forward_hook(look(name), with_kwargs=True)
        for name, part in model.named_modules()
        if isinstance(part, ReadsContext)
    ]
    try:
        with torch.no_grad():
            run()
    finally:
        for one in hooks:
            one.remove()
    return found
