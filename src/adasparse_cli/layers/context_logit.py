"""A logit of the domain, added to the logit of the row."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from adasparse_cli.layers.context import Context, ReadsContext
from adasparse_cli.layers.mlp import plain_mlp


class ContextLogit(ReadsContext):
    """logit + g(c), where g is a small network and c the domain context.

    Args:
        context_width: width of c. hidden: widths of g's hidden layers.
    """

    def __init__(self, context_width: int, hidden: Sequence[int]) -> None:
        super().__init__()
        for place, part in enumerate(plain_mlp(context_width, hidden, 1)):
            self.add_module(str(place), part)

    def forward(self, logits: Float[Tensor, " rows"], context: Context) -> Float[Tensor, " rows"]:
        """The sum."""
        return logits + context.map(self._of_condition).by_row().squeeze(1)

    def _of_condition(self, x: Tensor) -> Tensor:
        for part in self.children():
            x = part(x)
        return x
