"""The auctions against a plain loop over the same draws, over all draws, and the intervals by simulation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from adasparse_cli.analysis import abtest
from adasparse_cli.analysis.abtest import ENOUGH_AUCTIONS, Change, Trial, over_seeds, trial, uplift_over_seeds

World = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # domains, true rates, scores of A and of B


def world(draw: np.random.Generator, sizes: list[int]) -> World:
    """Domains of these many rows, their rows mixed; both arms know something, B more in some domains than in others."""
    domains = np.repeat(np.arange(len(sizes)), sizes)
    rate = 0.1 * np.exp(draw.normal(0, 0.4, len(sizes)))[domains] * np.exp(draw.normal(0, 0.7, len(domains)))
    truth = np.clip(rate, 0.001, 0.9)
    spread = draw.uniform(0.1, 1.4, len(sizes))[domains]
    a, b = (np.clip(truth * np.exp(s * draw.normal(size=len(truth))), 1e-4, 0.99) for s in (0.9, spread))
    order = draw.permutation(len(domains))
    return domains[order], truth[order], a[order], b[order]


def held(of: World, **how: Any) -> Trial:
    return trial(*of, **{"auctions": 1000, "candidates": 4, "bid_spread": 0.5, "seed": 0, **how})


def figures(found: Trial) -> dict[str, Change]:
    return {change.name: change for change in found.changes}


def looped(of: World, *, auctions: int, candidates: int, bid_spread: float, seed: int, at_once: int) -> dict[str, Any]:
    """The auctions one by one, in plain Python, from the draws that `trial` takes: domains, rows, bids."""
    domains, truth, *scores = (column.tolist() for column in of)
    members = {d: [row for row, own in enumerate(domains) if own == d] for d in sorted(set(domains))}
    members = {d: own for d, own in members.items() if len(own) >= candidates}
    names, total = list(members), sum(len(own) for own in members.values())
    sums = {d: {"auctions": 0, "clicks": [0.0, 0.0], "cost": [0.0, 0.0]} for d in names}
    draw = np.random.default_rng(seed)
    while auctions:
        size = min(at_once, auctions)
        auctions -= size
        of_domain = draw.choice(len(names), size, p=[len(members[d]) / total for d in names])
        of_row = draw.random((size, candidates))
        of_bid = draw.normal(0.0, bid_spread, (size, candidates))
        for place, rows, logs in zip(of_domain.tolist(), of_row.tolist(), of_bid.tolist(), strict=True):
            own = members[names[place]]
            shown_to = [own[math.floor(part * len(own))] for part in rows]
            bids = [math.exp(log) for log in logs]
            result = sums[names[place]]
            result["auctions"] += 1
            for arm in (0, 1):
                worth = [bid * scores[arm][row] for bid, row in zip(bids, shown_to, strict=True)]
                first, second, *_ = sorted(range(candidates), key=lambda k: (-worth[k], k))
                price = worth[second] / scores[arm][shown_to[first]]
                result["clicks"][arm] += truth[shown_to[first]]
                result["cost"][arm] += truth[shown_to[first]] * price
    return sums


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=5).filter(lambda sizes: max(sizes) >= 3),
    st.sampled_from([60, 2]),
    st.integers(0, 999),
)
@settings(deadline=None, max_examples=40)
def test_a_trial_is_a_plain_loop_over_its_auctions(sizes: list[int], auctions: int, seed: int) -> None:
    """Also where the auctions are held in several portions, or are fewer than the domains."""
    draw = np.random.default_rng(seed)
    of = world(draw, sizes)
    of = (of[0] * 3 + 1, *of[1:])  # ids with gaps
    how: dict[str, Any] = {"auctions": auctions, "candidates": 3, "bid_spread": 0.5, "seed": seed}
    for at_once in (100_000, 25):
        reported: list[int] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(abtest, "AT_ONCE", at_once)
            found = trial(*of, **how, on_auctions=reported.append)
        expected = looped(of, **how, at_once=at_once)
        assert found.domains.tolist() == list(expected)
        assert found.auctions.tolist() == [own["auctions"] for own in expected.values()]
        for arm, outcome in enumerate((found.a, found.b)):
            np.testing.assert_allclose(outcome.clicks, [own["clicks"][arm] for own in expected.values()], rtol=1e-12)
            np.testing.assert_allclose(outcome.cost, [own["cost"][arm] for own in expected.values()], rtol=1e-12)
        assert sum(reported) == auctions
        assert len(reported) == math.ceil(auctions / at_once)
        check_sums(found)


def check_sums(found: Trial) -> None:
    """CTR, CPC, RPM and uplift from the outcomes of the domains, by their definitions."""
    auctions = sum(found.auctions.tolist())
    for arm, outcome in (("a", found.a), ("b", found.b)):
        clicks, cost = sum(outcome.clicks.tolist()), sum(outcome.cost.tolist())
        expected = {"CTR": clicks / auctions, "CPC": cost / clicks, "RPM": 1000 * cost / auctions}
        assert {name: getattr(own, arm) for name, own in figures(found).items()} == pytest.approx(expected)
    for own in found.changes:
        assert own.relative == pytest.approx(own.b / own.a - 1, abs=1e-12)
    better = [
        (number, b > a + 1e-9)
        for number, a, b in zip(found.auctions.tolist(), found.a.clicks.tolist(), found.b.clicks.tolist(), strict=True)
        if number
    ]
    assert found.uplift_domains == pytest.approx(sum(higher for _, higher in better) / len(better))
    assert found.uplift_auctions == pytest.approx(sum(number for number, higher in better if higher) / auctions)


def of_all_pairs(truth: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """Clicks and cost per auction of two candidates and bids of 1: the mean over all ordered pairs of rows."""
    first = np.where(scores[:, None] >= scores[None, :], truth[:, None], truth[None, :])
    price = np.minimum(scores[:, None], scores[None, :]) / np.maximum(scores[:, None], scores[None, :])
    return float(first.mean()), float((first * price).mean())


@pytest.mark.parametrize("spread", [-0.1, 5.1, 1000.0, math.nan])
def test_bids_that_would_overflow_or_decide_alone_are_refused(spread: float) -> None:
    with pytest.raises(ValueError, match="must be from 0 to 5"):
        held(world(np.random.default_rng(0), [5, 5]), bid_spread=spread)


def test_with_equal_bids_outcomes_tend_to_the_mean_over_all_pairs_of_rows() -> None:
    """Truth: every pair of a domain's rows is as likely, also of a row with itself; 200,000 auctions."""
    of = world(np.random.default_rng(1), [2, 5, 9, 20, 1])
    found = held(of, auctions=200_000, candidates=2, bid_spread=0.0)
    assert found.domains.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(found.auctions / 200_000, np.array([2, 5, 9, 20]) / 36, atol=0.005)
    for scores, outcome in ((of[2], found.a), (of[3], found.b)):
        for place, domain in enumerate(found.domains):
            own = of[0] == domain
            clicks, cost = of_all_pairs(of[1][own], scores[own])
            assert outcome.clicks[place] / found.auctions[place] == pytest.approx(clicks, rel=0.015)
            assert outcome.cost[place] / found.auctions[place] == pytest.approx(cost, rel=0.015)


@given(st.integers(0, 10**6), st.integers(2, 6), st.sampled_from([0.0, 0.3, 1.0, 3.0]))
@settings(deadline=None)
def test_a_price_is_never_above_the_shown_bid_and_never_negative(seed: int, candidates: int, spread: float) -> None:
    """Of a single auction, whose bids are drawn again here; every row has a rate of its own, which tells who is shown."""
    draw = np.random.default_rng(seed)
    truth = draw.permutation(np.linspace(0.1, 0.9, 8))
    scores = draw.uniform(0.01, 0.99, (2, 8))
    found = trial(
        np.zeros(8, dtype=np.int64),
        truth,
        *scores,
        auctions=1,
        candidates=candidates,
        bid_spread=spread,
        seed=seed,
    )
    again = np.random.default_rng(seed)
    again.choice(1, 1, p=[1.0])
    rows = np.floor(again.random(candidates) * 8).astype(int)
    bids = np.exp(again.normal(0.0, spread, candidates))
    for outcome in (found.a, found.b):
        price = outcome.cost[0] / outcome.clicks[0]
        shown = bids[np.isclose(truth[rows], outcome.clicks[0])]
        assert 0 <= price <= shown.max() * (1 + 1e-12)


@given(st.integers(0, 10**6), st.floats(0, 2))
@settings(deadline=None, max_examples=25)
def test_an_arm_against_itself_changes_nothing_at_all(seed: int, spread: float) -> None:
    domains, truth, a, _ = world(np.random.default_rng(seed), [6, 9, 30])
    found = held((domains, truth, a, a.copy()), auctions=300, bid_spread=spread, seed=seed)
    np.testing.assert_array_equal(found.a.clicks, found.b.clicks)
    np.testing.assert_array_equal(found.a.cost, found.b.cost)
    for own in found.changes:
        assert (own.relative, own.low, own.high) == (0.0, 0.0, 0.0)
    assert (found.uplift_domains, found.uplift_auctions) == (0.0, 0.0)


def test_who_knows_the_true_rates_is_clicked_more_than_noise_and_the_other_way_round() -> None:
    draw = np.random.default_rng(2)
    domains, truth, *_ = world(draw, [30] * 40)
    noise = draw.uniform(0.01, 0.5, len(truth))
    better = held((domains, truth, noise, truth), auctions=8000)
    worse = held((domains, truth, truth, noise), auctions=8000)
    assert figures(better)["CTR"].low > 0.2
    assert figures(worse)["CTR"].high < -0.1
    np.testing.assert_array_equal(better.b.clicks, worse.a.clicks)
    assert better.uplift_domains > 0.95
    assert worse.uplift_domains < 0.05
    for one, other in zip(better.changes, worse.changes, strict=True):
        assert (1 + one.relative) * (1 + other.relative) == pytest.approx(1)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=6), st.integers(2, 6))
@settings(deadline=None)
def test_domains_with_fewer_rows_than_candidates_take_no_part(sizes: list[int], candidates: int) -> None:
    """And it is as if they were not there."""
    of = world(np.random.default_rng(len(sizes)), sizes)
    able = [domain for domain, size in enumerate(sizes) if size >= candidates]
    found = held(of, auctions=50, candidates=candidates)
    assert found.domains.tolist() == able
    assert found.auctions.sum() == (50 if able else 0)
    rest = np.isin(of[0], able)
    alone = held((of[0][rest], of[1][rest], of[2][rest], of[3][rest]), auctions=50, candidates=candidates)
    np.testing.assert_array_equal(found.b.clicks, alone.b.clicks)
    np.testing.assert_array_equal(found.a.cost, alone.a.cost)
    if len(able) < 2:  # no two domains, no chance of domains to be known
        assert all(math.isnan(own.low) and math.isnan(own.high) for own in found.changes)
    if not able:
        assert all(math.isnan(own.relative) for own in found.changes)
        assert math.isnan(found.uplift_domains)
        assert math.isnan(found.uplift_auctions)


def test_the_same_seed_gives_the_same_and_another_seed_other_auctions() -> None:
    of = world(np.random.default_rng(3), [10, 20, 30])
    one, again, other = (held(of, seed=seed) for seed in (5, 5, 6))
    for outcome in ("a", "b"):
        for sums in ("clicks", "cost"):
            first, second, third = (getattr(getattr(found, outcome), sums) for found in (one, again, other))
            np.testing.assert_array_equal(first, second)
            assert (first != third).all()
    for mine, same in zip(one.changes, again.changes, strict=True):
        assert (mine.low, mine.relative, mine.high) == (same.low, same.relative, same.high)


def test_intervals_are_those_of_leaving_out_a_domain_at_a_time() -> None:
    """Truth: the jackknife done by hand, with as many degrees of freedom as domains count, less one."""
    found = held(world(np.random.default_rng(4), [10] * 30 + [20] * 30), auctions=20_000)
    number = found.auctions.astype(np.float64)
    parts = {
        "CTR": [(arm.clicks, number) for arm in (found.a, found.b)],
        "CPC": [(arm.cost, arm.clicks) for arm in (found.a, found.b)],
        "RPM": [(arm.cost, number) for arm in (found.a, found.b)],
    }
    shares = number / number.sum()
    reach = stats.t.ppf(0.975, 1 / (shares**2).sum() - 1)
    for name, own in figures(found).items():
        left_out = []
        for k in range(60):
            a, b = (np.delete(top, k).sum() / np.delete(bottom, k).sum() for top, bottom in parts[name])
            left_out.append(b / a - 1)
        error = (59 / 60 * np.sum((np.array(left_out) - own.relative) ** 2)) ** 0.5
        assert (own.high - own.low) / 2 == pytest.approx(reach * error, rel=0.02)
        assert (own.high + own.low) / 2 == pytest.approx(own.relative)
        assert (own.of_domains.moves * (1 - own.of_domains.shares)).sum() == pytest.approx(0, abs=1e-12)
        np.testing.assert_allclose(own.of_domains.shares, shares)


def test_over_seeds_the_chance_of_domains_and_of_seeds_add_up() -> None:
    """Truth: leaving out a domain at a time of the mean change, and the spread of changes over three pairs of runs."""
    draw = np.random.default_rng(6)
    domains, truth, a, _ = world(draw, [10] * 30 + [20] * 30)
    trials = []
    for least in (0.0, 0.1, 0.3):  # how little a seed's B knows at best; where it knows least differs from seed to seed
        spread = least + draw.uniform(0.0, 1.4, 60)[domains]
        other = np.clip(truth * np.exp(spread * draw.normal(size=len(truth))), 1e-4, 0.99)
        trials.append(held((domains, truth, a, other), auctions=20_000))
    shares = trials[0].auctions / 20_000
    left_out = [
        np.mean([np.delete(one.b.clicks, k).sum() / np.delete(one.a.clicks, k).sum() - 1 for one in trials])
        for k in range(60)
    ]
    of_seeds = [one.b.clicks.sum() / one.a.clicks.sum() - 1 for one in trials]
    mean = np.mean(of_seeds)
    parts = [(59 / 60 * np.sum((left_out - mean) ** 2), 1 / (shares**2).sum() - 1), (np.var(of_seeds, ddof=1) / 3, 2)]
    error = sum(variance for variance, _ in parts) ** 0.5
    reach = stats.t.ppf(0.975, error**4 / sum(variance**2 / own for variance, own in parts))
    found = over_seeds([figures(one)["CTR"] for one in trials])
    assert found.difference == pytest.approx(mean)
    assert (found.high - found.low) / 2 == pytest.approx(reach * error, rel=0.02)
    assert min(variance for variance, _ in parts) > 0.1 * error**2  # both parts are seen
    assert math.isnan(over_seeds([figures(trials[0])["CTR"]]).p)


def test_the_share_of_domains_that_gain_is_of_those_with_auctions_enough() -> None:
    """Truth: the mean over seeds, leaving out a domain at a time, and the spread of shares over three pairs of runs."""
    draw = np.random.default_rng(7)
    domains, truth, a, _ = world(draw, [10] * 30 + [600] * 20)
    trials = []
    for least in (0.2, 0.5, 0.8):
        other = np.clip(truth * np.exp(least * draw.normal(size=len(truth))), 1e-4, 0.99)
        trials.append(held((domains, truth, a, other), auctions=10_000))
    enough = np.flatnonzero(trials[0].auctions >= ENOUGH_AUCTIONS)
    assert enough.tolist() == list(range(30, 50))
    higher = np.array([[one.b.clicks[k] > one.a.clicks[k] for k in enough] for one in trials], dtype=float)
    left_out = [np.delete(higher, k, axis=1).mean() for k in range(20)]
    of_seeds = higher.mean(1)
    parts = [(19 / 20 * np.sum((left_out - higher.mean()) ** 2), 19), (np.var(of_seeds, ddof=1) / 3, 2)]
    error = sum(variance for variance, _ in parts) ** 0.5
    reach = stats.t.ppf(0.975, error**4 / sum(variance**2 / own for variance, own in parts))
    found = uplift_over_seeds(trials, above=0.9)
    assert 0 < higher.mean() < 1
    assert found.difference == pytest.approx(higher.mean() - 0.9)
    assert found.low + 0.9 == pytest.approx(max(higher.mean() - reach * error, 0.0))
    assert found.high + 0.9 == pytest.approx(min(higher.mean() + reach * error, 1.0))
    few = held((domains[:300], truth[:300], a[:300], a[:300]), auctions=50)
    assert math.isnan(uplift_over_seeds([few, few], above=0.9).difference)


def test_where_nobody_clicks_no_change_can_be_had() -> None:
    domains, _, a, b = world(np.random.default_rng(7), [6, 9])
    found = held((domains, np.zeros(15), a, b))
    assert all(math.isnan(own.relative) and math.isnan(own.low) for own in found.changes)


@pytest.mark.parametrize(("number", "auctions", "studies"), [(40, 2000, 400), (12, 500, 400)])
def test_intervals_cover_the_change_in_the_world_that_domains_are_drawn_from(
    number: int, auctions: int, studies: int
) -> None:
    """By simulation. Truth: all pairs of rows in 5000 domains, a domain weighing as much as it has rows."""
    draw = np.random.default_rng(5)

    def drawn(domains: int) -> World:
        return world(draw, draw.integers(4, 25, domains).tolist())

    clicks, cost, rows = np.zeros(2), np.zeros(2), 0
    for _ in range(50):
        of = drawn(100)
        for domain in range(100):
            own = of[0] == domain
            per_auction = [of_all_pairs(of[1][own], scores[own]) for scores in of[2:]]
            clicks += own.sum() * np.array([pair[0] for pair in per_auction])
            cost += own.sum() * np.array([pair[1] for pair in per_auction])
            rows += own.sum()
    truth = {"CTR": clicks, "CPC": cost / clicks, "RPM": cost}
    covered: dict[str, list[bool]] = {name: [] for name in truth}
    for seed in range(studies):
        found = held(drawn(number), auctions=auctions, candidates=2, bid_spread=0.0, seed=seed)
        for name, own in figures(found).items():
            covered[name].append(own.low <= truth[name][1] / truth[name][0] - 1 <= own.high)
    shares = {name: float(np.mean(own)) for name, own in covered.items()}
    assert all(0.9 < share < 0.98 for share in shares.values()), shares


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.sampled_from([1.0, 0.5, 0.01]), st.integers(0, 99))
@settings(deadline=None, max_examples=30)
def test_propensities_that_are_all_the_same_say_nothing(sizes: list[int], chance: float, seed: int) -> None:
    of = world(np.random.default_rng(seed), [*sizes, 12])
    plain = held(of, auctions=200, seed=seed)
    weighed = held(of, auctions=200, seed=seed, propensities=np.full(len(of[0]), chance))
    np.testing.assert_array_equal(plain.domains, weighed.domains)
    np.testing.assert_allclose(plain.b.clicks.sum(), weighed.b.clicks.sum(), rtol=0.05)
    if chance != 0.01:  # powers of two scale the line without rounding
        np.testing.assert_array_equal(plain.auctions, weighed.auctions)
        np.testing.assert_array_equal(plain.b.clicks, weighed.b.clicks)
        np.testing.assert_array_equal(plain.a.cost, weighed.a.cost)


def test_a_row_stands_for_as_many_as_its_propensity_says() -> None:
    """Truth: the world in which each row lies 1/π times, and every pair of rows is as likely."""
    draw = np.random.default_rng(8)
    of = world(draw, [2, 5, 9, 20, 1])
    times = draw.integers(1, 8, len(of[0]))
    found = held(of, auctions=200_000, candidates=2, bid_spread=0.0, propensities=1.0 / times)
    whole = tuple(np.repeat(column, times) for column in of)
    taking = found.domains.tolist()
    assert taking == [0, 1, 2, 3]
    sizes = np.array([np.sum(whole[0] == domain) for domain in taking])
    np.testing.assert_allclose(found.auctions / 200_000, sizes / sizes.sum(), atol=0.005)
    for scores, outcome in ((whole[2], found.a), (whole[3], found.b)):
        for place, domain in enumerate(taking):
            own = whole[0] == domain
            clicks, cost = of_all_pairs(whole[1][own], scores[own])
            assert outcome.clicks[place] / found.auctions[place] == pytest.approx(clicks, rel=0.015)
            assert outcome.cost[place] / found.auctions[place] == pytest.approx(cost, rel=0.015)


def test_a_log_with_propensities_tells_what_showing_other_rows_would_have_brought() -> None:
    """By simulation. Truth: auctions over all rows at their true rates; the log has some rows, and labels, only.

    The logging system prefers what arm A prefers, so that without the propensities B looks worse than it is.
    """
    draw = np.random.default_rng(9)
    sizes = draw.integers(20, 120, 60).tolist()
    covered, naive = [], []
    for seed in range(120):
        domains, truth, a, b = world(draw, sizes)
        truth = np.clip(4 * truth, 0.001, 0.95)
        ahead = held((domains, truth, a, b), auctions=20_000, candidates=3, seed=seed)
        chance = np.clip((a / np.median(a)) ** 1.5 * 0.4, 0.1, 1.0)
        logged = draw.random(len(domains)) < chance
        labels = (draw.random(len(domains)) < truth).astype(np.float64)
        log = (domains[logged], labels[logged], a[logged], b[logged])
        how = {"auctions": 20_000, "candidates": 3, "seed": seed + 1000}
        weighed, plain = held(log, propensities=chance[logged], **how), held(log, **how)
        real = figures(ahead)["CTR"]
        found, blind = figures(weighed)["CTR"], figures(plain)["CTR"]
        covered.append(found.low <= real.relative <= found.high)
        naive.append((found.relative - real.relative, blind.relative - real.relative))
    gaps = np.array(naive)
    assert np.mean(covered) > 0.9
    standard_error = gaps.std(0, ddof=1) / len(gaps) ** 0.5
    assert abs(gaps[:, 0].mean()) < 4 * standard_error[0] + 0.01
    assert abs(gaps[:, 1].mean()) > 3 * abs(gaps[:, 0].mean())
