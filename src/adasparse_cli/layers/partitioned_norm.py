"""STAR's partitioned normalisation: every domain is normalised by its own statistics."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from adasparse_cli.layers.grouped import DomainTable


class PartitionedNorm(nn.Module):
    """z' = γ γ_d (z − μ_d) / √(s_d² + eps) + (b + b_d).

    A row is normalised by the first available of these statistics:

    - in training, the statistics of its domain's rows in the batch, if there are at least `minimum_rows`;
    - the domain's moving statistics, once they include at least `minimum_rows` rows;
    - the statistics of all rows: of the batch in training, moving ones in evaluation.

    In evaluation the first rule does not apply. The first rule is the paper's; the others are this project's. With
    hundreds of domains, most have one row or none in a batch, and a single row normalised by itself is zero. A
    domain that is unseen in training has γ_d = 1, b_d = 0 and the statistics of all rows.

    Moving statistics are exact averages over the first `window_rows` rows of a domain. After that, n new rows of
    a batch have a weight of n / (`window_rows` + n), so that a row's weight hardly depends on the division into batches.

    Source: Sheng et al., One Model to Serve All, CIKM 2021 (arXiv 2101.11427).
    """

    def __init__(self, num_domains: int, width: int, *, minimum_rows: int, window_rows: int, eps: float) -> None:
        super().__init__()
        self.minimum_rows, self.window_rows, self.eps = minimum_rows, window_rows, eps
        self.scale = nn.Parameter(torch.ones(width))
        self.shift = nn.Parameter(torch.zeros(width))
        self.domain_scale = DomainTable(num_domains, torch.ones(width))
        self.domain_shift = DomainTable(num_domains, torch.zeros(width))
        # The last row has the statistics of all rows.
        self.register_buffer("mean", torch.zeros(num_domains + 1, width))
        self.register_buffer("variance", torch.ones(num_domains + 1, width))
        self.register_buffer("rows_seen", torch.zeros(num_domains + 1))

    mean: Tensor
    variance: Tensor
    rows_seen: Tensor

    def forward(self, x: Float[Tensor, "rows width"], places: Int[Tensor, " rows"]) -> Float[Tensor, "rows width"]:
        """Normalise rows by the statistics of their domain; `places` are its rows in the tables."""
        # scale and shift are computed once per domain and looked up for each row at the end
        domains, place = torch.unique(places, return_inverse=True)
        mean, variance = self._statistics(x, domains, place)
        scale = self.scale * self.domain_scale(domains) * torch.rsqrt(variance + self.eps)
        shift = self.shift + self.domain_shift(domains)
        mean_of_row, scale_of_row, shift_of_row = (functional.embedding(place, part) for part in (mean, scale, shift))
        return (x - mean_of_row) * scale_of_row + shift_of_row

    def _statistics(self, x: Tensor, domains: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
        """The mean and variance that normalise the rows of each domain."""
        known = self.rows_seen >= self.minimum_rows
        known[-1] = False
        held_at = torch.where(known[domains], domains, len(self.rows_seen) - 1)
        if not self.training:
            return self.mean[held_at], self.variance[held_at]
        counts = torch.bincount(place, minlength=len(domains)).to(x.dtype)
        of_domains = _mean_and_variance(x, place, counts)
        of_all = x.mean(0), x.var(0, unbiased=False)
        enough = (counts >= self.minimum_rows).unsqueeze(1)
        result = []
        for own, pooled, held in zip(of_domains, of_all, (self.mean, self.variance), strict=True):
            of_others = torch.where(known[domains].unsqueeze(1), held[domains], pooled)
            result.append(torch.where(enough, own, of_others))
        self._move(domains, counts, *(part.detach() for part in of_domains))
        last = torch.tensor([len(self.rows_seen) - 1], device=x.device)
        everyone = torch.tensor([float(len(x))], dtype=x.dtype, device=x.device)
        self._move(last, everyone, *(part.detach().unsqueeze(0) for part in of_all))
        return result[0], result[1]

    @torch.no_grad()
    def _move(self, domains: Tensor, counts: Tensor, mean: Tensor, variance: Tensor) -> None:
        seen = self.rows_seen[domains]
        share = (counts / (seen.clamp(max=self.window_rows) + counts)).unsqueeze(1)
        gap = mean - self.mean[domains]
        self.variance[domains] = torch.lerp(self.variance[domains], variance, share) + share * (1 - share) * gap**2
        self.mean[domains] += share * gap
        self.rows_seen[domains] = seen + counts


def _mean_and_variance(x: Tensor, place: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and (population) variance of the rows of each domain."""
    of_rows = counts.unsqueeze(1)
    zeros = x.new_zeros(len(counts), x.shape[1])
    mean = zeros.index_add(0, place, x) / of_rows
    variance = zeros.index_add(0, place, (x - functional.embedding(place, mean)) ** 2) / of_rows
    return mean, variance
