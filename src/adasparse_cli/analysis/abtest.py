"""A simulated A/B test for data with a known true rate in every row.

Auctions are drawn domain by domain, in proportion to the domains' rows. In each auction, K rows of the domain are the
candidates, each with a bid b. An arm ranks them by b · p̂ and shows the first one. A click costs the lowest bid with
which the shown row would still rank first:

    shown = argmax_k b_k p̂_k,     price = max_{k ≠ shown} b_k p̂_k / p̂_shown ≤ b_shown

Both arms use the same auctions, candidates and bids. Clicks count with the true rate p instead of a random draw, which
adds no variance:

    CTR = Σ p / auctions      CPC = Σ price · p / Σ p      RPM = 1000 Σ price · p / auctions

If a log has no true rates but records the probability π with which each row was shown, the same auctions are an
off-policy estimate (Horvitz and Thompson 1952, as a ratio of sums). A logged row represents 1/π rows that could have
been shown. It is drawn as a candidate with probability proportional to 1/π, and its label replaces the true rate.
Rows that the system never shows (π = 0) are not in the log and not part of the estimate.

Intervals are intervals of relative changes B/A − 1, from a jackknife over domains. UPR is the share of domains with a
higher CTR in B.

Source: this project. Generalised second price as in Edelman et al., American Economic Review 2007.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from adasparse_cli.analysis.statistics import LEVEL, Difference, Gaps, Moves, difference_of

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
AT_ONCE = 100_000
ENOUGH_AUCTIONS = 100
# Limit of the standard deviation of log b. With 5, one bid in twenty is above 3,700 times the median; beyond, bids alone decide.
MOST_SPREAD = 5.0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Sums over each domain's auctions for one arm: expected clicks, and their cost."""

    clicks: Floats
    cost: Floats


@dataclass(frozen=True, kw_only=True)
class Change:
    """A metric in both arms, and B/A − 1 with its 95 % interval (NaN if not available).

    Args:
        of_domains: change of B/A − 1 when a domain is left out.
    """

    name: str
    a: float
    b: float
    relative: float
    low: float
    high: float
    of_domains: Moves


@dataclass(frozen=True, kw_only=True)
class Trial:
    """The result of the auctions.

    Args:
        auctions: number per domain. domains: ids of the domains with auctions.
        uplift_domains, uplift_auctions: share (0–1) of domains with a higher CTR in B, unweighted and weighted by auctions.
    """

    domains: Integers
    auctions: Integers
    a: Outcome
    b: Outcome
    changes: tuple[Change, ...]
    uplift_domains: float
    uplift_auctions: float

    @property
    def higher(self) -> NDArray[np.bool_]:
        """Whether each domain's CTR is higher in B by more than rounding errors."""
        return self.b.clicks > self.a.clicks * (1 + 1e-12)


def trial(
    domains: Integers,
    truth: Floats,
    scores_a: Floats,
    scores_b: Floats,
    *,
    auctions: int,
    candidates: int,
    bid_spread: float,
    seed: int,
    propensities: Floats | None = None,
    on_auctions: Callable[[int], None] = lambda number: None,
) -> Trial:
    """Simulate the auctions.

    Args:
        domains: domain of each row. truth: true rate or label of each row. scores_a, scores_b: predicted rates, in (0, 1).
        candidates: K, at least 2; domains with fewer rows are skipped. Rows are drawn with replacement, so a row can
            compete with itself under another bid.
        bid_spread: standard deviation of log b, from 0 to MOST_SPREAD; the median of b is 1.
        propensities: probability with which each row was logged, in (0, 1]; None for unweighted rows.

    Raises:
        ValueError: `bid_spread` is out of range.
    """
    if not 0 <= bid_spread <= MOST_SPREAD:
        raise ValueError(f"bid_spread is {bid_spread}, but must be from 0 to {MOST_SPREAD}")
    order = np.argsort(domains, kind="stable")
    taking, first, rows = np.unique(domains[order], return_index=True, return_counts=True)
    able = rows >= candidates
    taking, first, rows = taking[able], first[able], rows[able]
    number = np.zeros(len(taking), dtype=np.int64)
    sums = {arm: Outcome(clicks=np.zeros(len(taking)), cost=np.zeros(len(taking))) for arm in ("a", "b")}
    draw = np.random.default_rng(seed)
    line = None if propensities is None else _Line(1.0 / propensities[order], first, rows)
    weights = rows if line is None else line.weights
    chances = weights / max(weights.sum(), 1)
    for start in range(0, auctions if len(taking) else 0, AT_ONCE):
        size = min(AT_ONCE, auctions - start)
        place = draw.choice(len(taking), size, p=chances)
        points = draw.random((size, candidates)) * weights[place][:, None]
        within = points.astype(np.int64) if line is None else line.rows_at(points, place)
        drawn = order[first[place][:, None] + within]
        bids = np.exp(draw.normal(0.0, bid_spread, (size, candidates)))
        number += np.bincount(place, minlength=len(taking))
        for arm, scores in (("a", scores_a), ("b", scores_b)):
            shown, price = _held(bids, scores[drawn])
            rate = truth[drawn[np.arange(size), shown]]
            sums[arm].clicks[:] += np.bincount(place, weights=rate, minlength=len(taking))
            sums[arm].cost[:] += np.bincount(place, weights=rate * price, minlength=len(taking))
        on_auctions(size)
    a, b = sums["a"], sums["b"]
    held = number.astype(np.float64)
    changes = (
        _change("CTR", (a.clicks, held), (b.clicks, held), held),
        _change("CPC", (a.cost, a.clicks), (b.cost, b.clicks), held),
        _change("RPM", (1000 * a.cost, held), (1000 * b.cost, held), held),
    )
    nan = float("nan")
    found = Trial(domains=taking, auctions=number, a=a, b=b, changes=changes, uplift_domains=nan, uplift_auctions=nan)
    if not number.any():
        return found
    return replace(
        found,
        uplift_domains=float(found.higher[number > 0].mean()),
        uplift_auctions=float(np.average(found.higher, weights=held)),
    )


class _Line:
    """All rows as consecutive segments of a line, each as long as its weight; the rows of a domain are adjacent.

    Args:
        weights: per row. first, rows: first row and number of rows of each domain.
    """

    def __init__(self, weights: Floats, first: Integers, rows: Integers) -> None:
        self._ends = np.cumsum(weights)
        self._first, self._rows = first, rows
        self._below = np.concatenate(([0.0], self._ends))[first]
        self.weights = self._ends[first + rows - 1] - self._below

    def rows_at(self, points: Floats, place: Integers) -> Integers:
        """The row at each point, measured from the start of its domain; one line of points per domain."""
        found: Integers = np.searchsorted(self._ends, self._below[place][:, None] + points, side="right")
        # rounding can push a point past the end of its domain
        within: Integers = np.clip(found - self._first[place][:, None], 0, self._rows[place][:, None] - 1)
        return within


def _held(bids: Floats, scores: Floats) -> tuple[Integers, Floats]:
    """The candidate that each auction shows, and the price of a click on it."""
    ranked = bids * scores
    shown = ranked.argmax(1)
    places = np.arange(len(shown))
    others = ranked.copy()
    others[places, shown] = -np.inf
    return shown, others.max(1) / scores[places, shown]


def _change(name: str, a: tuple[Floats, Floats], b: tuple[Floats, Floats], weights: Floats) -> Change:
    """Relative change B/A − 1 of a ratio of sums over domains.

    A domain's effect on Σn/Σm is (n_d − R m_d)/Σm. Its effect on the relative change is the difference of both, over A.
    """
    sums = [(float(numerators.sum()), float(denominators.sum())) for numerators, denominators in (a, b)]
    values = [numerator / denominator if denominator else float("nan") for numerator, denominator in sums]
    relative = values[1] / values[0] - 1 if values[0] else float("nan")
    effects = [
        (numerators - value * denominators) / (total or float("nan"))
        for value, (numerators, denominators), (_, total) in zip(values, (a, b), sums, strict=True)
    ]
    of_domains = (effects[1] - (1 + relative) * effects[0]) / (values[0] or float("nan"))
    moves = Moves.of(np.arange(len(weights)), of_domains, weights / max(weights.sum(), 1.0))
    variance, freedom = moves.variance()
    reach = float(stats.t.ppf(1 - LEVEL / 2, freedom)) * variance**0.5
    return Change(
        name=name,
        a=float(values[0]),
        b=float(values[1]),
        relative=float(relative),
        low=float(relative - reach),
        high=float(relative + reach),
        of_domains=moves,
    )


def over_seeds(changes: Sequence[Change]) -> Difference:
    """The mean relative change over pairs of runs in the same auctions, with variance over domains and seeds."""
    first = changes[0].of_domains
    mean = replace(first, moves=np.mean([change.of_domains.moves for change in changes], axis=0))
    return difference_of(Gaps(of_seeds=np.array([change.relative for change in changes]), of_rows=(mean,)))


def uplift_over_seeds(trials: Sequence[Trial], *, above: float) -> Difference:
    """UPR minus `above` over pairs of runs in the same auctions, with variance over domains and seeds.

    Domains with fewer than ENOUGH_AUCTIONS auctions are excluded: chance decides their sign, which pulls the share to one half.
    """
    enough = trials[0].auctions >= ENOUGH_AUCTIONS
    if not enough.any():
        return difference_of(Gaps(of_seeds=np.full(len(trials), np.nan), of_rows=()))
    higher = np.array([one.higher[enough] for one in trials], dtype=np.float64)
    of_domain, number = higher.mean(0), int(enough.sum())
    effects = (of_domain - of_domain.mean()) / number
    moves = Moves.of(np.arange(number), effects, np.full(number, 1 / number))
    # a share is between 0 and 1
    return difference_of(Gaps(of_seeds=higher.mean(1) - above, of_rows=(moves,)), bounds=(-above, 1 - above))
