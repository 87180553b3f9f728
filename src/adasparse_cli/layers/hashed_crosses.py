"""One weight per pair of a value and a domain, in a table of fixed size."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from adasparse_cli.layers.embedding import AgnosticRows

# SplitMix64: its step, and the multipliers and shifts of its finaliser.
_STEP = 0x9E3779B97F4A7C15
_ROUNDS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
_LAST_SHIFT = 31


class HashedCrosses(nn.Module):
    """s = Σ_f pool_{v ∈ f} u[h(v, d)] over a row's domain-agnostic fields f, for the row's domain d.

        h(v, d) = (splitmix64(v (D + 1) + d) mod 2⁶³) mod B

    v is the value's row in the embedding table, so values of different fields differ. Pairs with the same row of u share its
    weight. u starts at 0, so an unseen pair adds 0, unless it shares a row with a pair that was trained. A
    domain that is unseen in training (d = D) has no pairs: s = 0. An empty bag adds 0.

    h uses integer arithmetic, so it is equal in every process and on every device. The gradient is sparse.

    Args:
        num_domains: D. buckets: B, rows of u. pooling: `mean` or `sum`, of the values of a bag.

    Source: Weinberger et al., Feature Hashing for Large Scale Multitask Learning, ICML 2009 (arXiv 0902.2206), which
    crosses every feature with the user in this way. Difference: no second hash for a sign.
    """

    def __init__(self, num_domains: int, buckets: int, *, pooling: str) -> None:
        super().__init__()
        self.num_domains, self.buckets, self.pooling = num_domains, buckets, pooling
        self.weight = nn.Parameter(torch.zeros(buckets, 1))

    def forward(self, rows: AgnosticRows, places: Int[Tensor, " rows"]) -> Float[Tensor, " rows"]:
        """s of each row; `places` are the domains of the rows."""
        singles = self.places_of(rows.singles, places.unsqueeze(1))
        summed = functional.embedding(singles, self.weight, sparse=True).sum((1, 2))
        bags = len(rows.lengths) // max(1, len(places))
        if bags:
            domains = places.repeat_interleave(bags).repeat_interleave(rows.lengths)
            found = self.places_of(rows.values, domains)
            pooled = functional.embedding_bag(found, self.weight, rows.first_value, mode=self.pooling, sparse=True)
            summed = summed + pooled.view(len(places), bags).sum(1)
        return summed.masked_fill(places >= self.num_domains, 0.0)

    def places_of(self, values: Tensor, domains: Tensor) -> Tensor:
        """h of each pair."""
        hashes = splitmix64(values.long() * (self.num_domains + 1) + domains)
        return torch.remainder(hashes & 0x7FFFFFFFFFFFFFFF, self.buckets)


def splitmix64(x: Tensor) -> Tensor:
    """Scramble 64-bit numbers one to one; the bits are the bits of unsigned numbers.

    Source: Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators, OOPSLA 2014.
    """
    x = x + _signed(_STEP)
    for shift, factor in _ROUNDS:
        x = (x ^ _shifted(x, shift)) * _signed(factor)
    return x ^ _shifted(x, _LAST_SHIFT)


def _shifted(x: Tensor, shift: int) -> Tensor:
    """Shift right and fill with zeros; torch's shift repeats the sign."""
    return (x >> shift) & ((1 << (64 - shift)) - 1)


def _signed(number: int) -> int:
    """The signed 64-bit number with the same bits."""
    return number - (1 << 64) if number >> 63 else number
