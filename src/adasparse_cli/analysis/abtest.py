"""An offline stand-in for an online test, where the true rate of every row is known.

Auctions are drawn domain by domain, in proportion to the domains' rows. In each, K rows of the domain are the
candidates, each with a bid b; an arm ranks them by b · p̂, its first one is shown, and a click costs what would just have
kept the second one below it:

    shown = argmax_k b_k p̂_k,     price = max_{k ≠ shown} b_k p̂_k / p̂_shown ≤ b_shown

Both arms see the same auctions, candidates and bids. What follows from a showing is taken at its true rate p instead
of a draw, so that no chance is added:

    CTR = Σ p / auctions      CPC = Σ price · p / Σ p      RPM = 1000 Σ price · p / auctions

On a log whose true rates nobody knows, but whose system says with which chance π it showed each row, the same auctions are
an off-policy estimate (Horvitz and Thompson 1952, as a ratio of sums): a logged row stands for 1/π rows that could have
been shown, so it is drawn as a candidate with a chance in proportion to 1/π, and what follows from showing it is its own
label. Rows that the system never shows (π = 0) are not in the log, and the estimate is of the others.

Intervals are of relative changes B/A − 1, by a jackknife over domains; UPR is the share of domains whose CTR is higher in B.

Source: ours. Generalised second price as in Edelman et al., American Economic Review 2007.
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
# Of log b: with 5, one bid in twenty is above 3,700 times the median, and far more means that bids alone decide.
MOST_SPREAD = 5.0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Sums over each domain's auctions, for one arm: expected clicks, and what they cost."""

    clicks: Floats
    cost: Floats


@dataclass(frozen=True, kw_only=True)
class Change:
    """A figure in both arms, and B over A less 1 with its 95 % interval (NaN where it cannot be had).

    Args:
        of_domains: how far the relative change moves when a domain is left out.
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
    """What the auctions gave.

    Args:
        auctions: of each domain. domains: ids of those that took part.
        uplift_domains, uplift_auctions: share of domains whose CTR is higher in B, each counting the same, or by auctions.
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
        """Of each domain, whether its CTR is higher in B; more than rounding can make."""
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
    """Hold the auctions.

    Args:
        domains: of each row. truth: its true rate, or its label. scores_a, scores_b: each arm's predicted rate, in (0, 1).
        candidates: K, at least 2; domains with fewer rows take no part. Rows are drawn with replacement, so that one may
            stand against itself, under another bid.
        bid_spread: standard deviation of log b, from 0 to MOST_SPREAD; its median is 1.
        propensities: chance with which each row was logged, in (0, 1]; None where rows are as they come.

    Raises:
        ValueError: the spread of bids is out of its range.
    """
    if not 0 <= bid_spread <= MOST_SPREAD:
        raise ValueError(f"bid_spread is {bid_spread}, not from 0 to {MOST_SPREAD}")
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
    """All rows one behind the other, each as long as its weight, the rows of a domain together.

    Args:
        weights: of each row. first, rows: where each domain begins, and how many rows it has.
    """

    def __init__(self, weights: Floats, first: Integers, rows: Integers) -> None:
        self._ends = np.cumsum(weights)
        self._first, self._rows = first, rows
        self._below = np.concatenate(([0.0], self._ends))[first]
        self.weights = self._ends[first + rows - 1] - self._below

    def rows_at(self, points: Floats, place: Integers) -> Integers:
        """Which row of its domain lies at each point, measured from the domain's begin; one line of points per place."""
        found: Integers = np.searchsorted(self._ends, self._below[place][:, None] + points, side="right")
        # rounding can push a point over the edge of its domain
        within: Integers = np.clip(found - self._first[place][:, None], 0, self._rows[place][:, None] - 1)
        return within


def _held(bids: Floats, scores: Floats) -> tuple[Integers, Floats]:
    """Which candidate each auction shows, and the price of a click on it."""
    ranked = bids * scores
    shown = ranked.argmax(1)
    places = np.arange(len(shown))
    others = ranked.copy()
    others[places, shown] = -np.inf
    return shown, others.max(1) / scores[places, shown]


def _change(name: str, a: tuple[Floats, Floats], b: tuple[Floats, Floats], weights: Floats) -> Change:
    """B over A less 1 of a ratio of sums over domains.

    A domain's effect on Σn/Σm is (n_d − R m_d)/Σm, and on the relative change the difference of both, over A.
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
    """The mean relative change of several pairs of runs in the same auctions, with the chance of domains and of seeds."""
    first = changes[0].of_domains
    mean = replace(first, moves=np.mean([change.of_domains.moves for change in changes], axis=0))
    return difference_of(Gaps(of_seeds=np.array([change.relative for change in changes]), of_rows=(mean,)))


def uplift_over_seeds(trials: Sequence[Trial], *, above: float) -> Difference:
    """UPR less `above`, of several pairs of runs in the same auctions, with the chance of domains and of seeds.

    Domains of fewer than ENOUGH_AUCTIONS are left out: they are up or down by chance, which pulls the share to one half.
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
