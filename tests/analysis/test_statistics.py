"""The statistics: influences against brute force, the error against a real bootstrap, the procedure by simulation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import log_loss, roc_auc_score

from adasparse_cli.analysis.statistics import (
    Difference,
    Gaps,
    Moves,
    TestRows,
    compare,
    contrast,
    corrected,
    difference_of,
    gaps,
    holm,
    influences,
    over_worlds,
    placements,
    relative_improvement,
    uplift,
)
from adasparse_cli.metrics import grouped_auc

STUDIES = 300


def made(seed: int = 0, rows: int = 400, domains: int = 12) -> tuple[TestRows, np.ndarray]:
    draw = np.random.default_rng(seed)
    of = np.minimum(draw.geometric(0.2, rows) - 1, domains - 1)
    labels = (draw.random(rows) < 0.3).astype(np.float64)
    logits = np.round(draw.normal(size=rows) + labels, 1).astype(np.float32)  # rounded: many ties
    return TestRows(labels=labels, domains=of, clusters=of), logits


def weighted(metric: str, rows: TestRows, logits: np.ndarray, weights: np.ndarray) -> float:
    """The metric of rows that count `weights` times each, from scikit-learn."""
    if metric == "log_loss":
        return float(log_loss(rows.labels, 1 / (1 + np.exp(-logits.astype(np.float64))), sample_weight=weights))
    if metric == "auc":
        return float(roc_auc_score(rows.labels, logits, sample_weight=weights))
    total, count = 0.0, 0.0
    for domain in np.unique(rows.domains):
        own = rows.domains == domain
        if len(set(rows.labels[own])) == 2 and weights[own].sum() > 0:
            total += weights[own].sum() * roc_auc_score(rows.labels[own], logits[own], sample_weight=weights[own])
            count += weights[own].sum()
    return total / count


@pytest.mark.parametrize("metric", ["auc", "gauc_domain", "log_loss"])
def test_influences_are_derivatives_of_the_metric_with_respect_to_a_rows_weight(metric: str) -> None:
    rows, logits = made()
    value, found = influences(metric, rows, logits)
    ones = np.ones(len(logits))
    assert value == pytest.approx(weighted(metric, rows, logits, ones), abs=1e-6)
    assert found.sum() == pytest.approx(0, abs=1e-12)
    for row in range(0, 400, 37):
        more, less = ones.copy(), ones.copy()
        more[row] += 1e-4
        less[row] -= 1e-4
        numeric = (weighted(metric, rows, logits, more) - weighted(metric, rows, logits, less)) / 2e-4
        assert found[row] == pytest.approx(numeric, abs=2e-6), row


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(-3, 3), st.integers(0, 2)), min_size=1, max_size=25))
@settings(deadline=None)
def test_placements_equal_those_counted_pair_by_pair(rows: list[tuple[int, int, int]]) -> None:
    labels, scores, groups = (np.array(column) for column in zip(*rows, strict=True))
    found = placements(labels.astype(np.float64), scores.astype(np.float64), groups)
    for k in range(len(rows)):
        others = [j for j in range(len(rows)) if groups[j] == groups[k] and labels[j] != labels[k]]
        if others:
            sign = 1 if labels[k] else -1
            beaten = [0.5 + 0.5 * np.sign(sign * (scores[k] - scores[j])) for j in others]
            assert found[k] == pytest.approx(np.mean(beaten))


@pytest.mark.parametrize("metric", ["auc", "gauc_domain", "log_loss"])
def test_the_error_of_rows_is_that_of_a_bootstrap_over_clusters(metric: str) -> None:
    """Truth: 300 draws of domains with replacement, the metrics computed anew in each."""
    draw = np.random.default_rng(1)
    of = draw.integers(0, 60, 3000)
    labels = (draw.random(3000) < 0.3).astype(np.float64)
    taste = draw.normal(0, 0.6, 60)[of]
    base, arm = (labels + draw.normal(size=3000) for _ in range(2))
    arm += taste * (labels - 0.5)
    rows = TestRows(labels=labels, domains=of, clusters=of)
    found = compare(metric, rows, {"base": [base, base], "arm": [arm, arm]}, baseline="base")["arm"]
    alone = {}  # a domain is drawn as a whole, so its own AUC is the same in every draw
    if metric == "gauc_domain":
        for name, scores in (("base", base), ("arm", arm)):
            alone[name] = np.array([roc_auc_score(labels[of == k], scores[of == k]) for k in range(60)])
    drawn = []
    for _ in range(300):
        times = np.bincount(draw.integers(0, 60, 60), minlength=60)
        if alone:
            rows_drawn = times * np.bincount(of, minlength=60)
            drawn.append(np.average(alone["arm"] - alone["base"], weights=rows_drawn))
        else:
            weights = times[of].astype(np.float64)
            drawn.append(weighted(metric, rows, arm, weights) - weighted(metric, rows, base, weights))
    error = (found.high - found.low) / 2 / stats.t.ppf(0.975, 58)
    assert np.std(drawn) == pytest.approx(error, rel=0.2)


def study(
    draw: np.random.Generator, *, sizes: list[int], seeds: int, of_clusters: float, of_seeds: float, gain: float = 0.0
) -> Difference:
    """A study whose differences in log loss are known: gain + a cluster's effect + a seed's.

    All labels are 0, so that a row's loss is log(1 + e^z) and any loss can be asked for. Cluster effects are
    taken less their mean over a population in which clusters are drawn as they are sized, which is 0 here.
    """
    of = np.repeat(np.arange(len(sizes)), sizes)
    effect = draw.normal(0, of_clusters, len(sizes))[of] if of_clusters else np.zeros(len(of))
    base = np.full(len(of), np.log(np.expm1(9.0)))
    arms = [np.log(np.expm1(9.0 + gain + effect + draw.normal(0, of_seeds))) for _ in range(seeds)]
    rows = TestRows(labels=np.zeros(len(of)), domains=of, clusters=of)
    return compare("log_loss", rows, {"base": [base] * seeds, "arm": arms}, baseline="base")["arm"]


@pytest.mark.parametrize(
    ("case", "least", "most"),
    [
        ({"sizes": [3] * 8, "seeds": 2, "of_clusters": 0.0, "of_seeds": 0.1}, 0.935, 0.965),
        ({"sizes": [3] * 8, "seeds": 3, "of_clusters": 0.0, "of_seeds": 0.1}, 0.935, 0.965),
        ({"sizes": [2] * 5, "seeds": 3, "of_clusters": 0.1, "of_seeds": 0.0}, 0.935, 0.965),
        ({"sizes": [2] * 40, "seeds": 3, "of_clusters": 0.1, "of_seeds": 0.02}, 0.935, 0.965),
        # a long tail, as domains have it: four clusters hold most rows
        ({"sizes": [400 // k for k in range(1, 60)], "seeds": 3, "of_clusters": 0.1, "of_seeds": 0.0}, 0.92, 0.97),
    ],
)
def test_intervals_cover_the_truth_at_the_promised_rate(case: dict[str, Any], least: float, most: float) -> None:
    """By simulation, each kind of chance by itself and both: few seeds, few clusters, clusters of unlike size."""
    draw = np.random.default_rng(2)
    covered = [found.low <= 0.0 <= found.high for found in (study(draw, **case) for _ in range(3000))]
    assert least < np.mean(covered) < most


@pytest.mark.parametrize("arms", [1, 5, 11])
def test_what_is_called_detectable_is_found_in_four_of_five_studies(arms: int) -> None:
    """By simulation: one arm has the gain, the others none, and p is corrected for all of them."""
    draw = np.random.default_rng(3)
    pool = [study(draw, sizes=[2] * 40, seeds=5, of_clusters=0.1, of_seeds=0.02) for _ in range(3000)]
    drawn = [[pool[k] for k in draw.integers(0, len(pool), arms)] for _ in range(1500)]
    detectable = float(np.mean([corrected(own)[0].detectable for own in drawn]))
    found = [
        corrected([replace(own[0], difference=own[0].difference + detectable), *own[1:]])[0].is_real for own in drawn
    ]
    assert 0.75 < np.mean(found) < 0.85


def test_arms_that_are_alike_are_called_different_in_five_of_a_hundred_studies() -> None:
    """By simulation with rankings: no difference by construction, since a coin swaps the arms cluster by cluster."""
    draw = np.random.default_rng(5)
    claimed = {"gauc_domain": 0, "auc": 0, "log_loss": 0}
    for _ in range(STUDIES):
        of = np.repeat(np.arange(40), draw.integers(10, 40, 40))
        signal = draw.normal(size=len(of))
        labels = (draw.random(len(of)) < 1 / (1 + np.exp(-signal))).astype(np.float64)
        quality = draw.normal(0.6, 0.4, 40)[of]
        flip = draw.integers(0, 2, 40)[of].astype(bool)
        arms: dict[str, list[np.ndarray]] = {"base": [], "arm": []}
        for _ in range(3):
            one = signal + draw.normal(0, 0.3, len(of))
            other = signal * quality + draw.normal(0, 0.3, len(of))
            arms["base"].append(np.where(flip, one, other))
            arms["arm"].append(np.where(flip, other, one))
        rows = TestRows(labels=labels, domains=of, clusters=of)
        for metric in claimed:
            claimed[metric] += compare(metric, rows, arms, baseline="base")["arm"].is_real
    for metric, number in claimed.items():
        assert number / STUDIES < 0.085, metric


def test_a_contrast_is_the_difference_of_gaps_on_rows_apart() -> None:
    """Truth: for the log loss, the difference of two means of independent rows."""
    draw = np.random.default_rng(4)
    labels = (draw.random(400) < 0.3).astype(np.float64)
    of = np.arange(400)
    logits = {arm: [draw.normal(size=400) for _ in range(2)] for arm in ("base", "arm")}
    halves = [np.arange(400) < 200, np.arange(400) >= 200]
    own = []
    for half in halves:
        rows = TestRows(labels=labels[half], domains=of[half], clusters=of[half])
        own.append(
            gaps("log_loss", rows, {a: [z[half] for z in seeds] for a, seeds in logits.items()}, baseline="base")["arm"]
        )
    found = contrast(*own)
    losses = {a: [np.logaddexp(0, z) - labels * z for z in seeds] for a, seeds in logits.items()}
    gap = [losses["arm"][s] - losses["base"][s] for s in range(2)]
    of_seeds = [gap[s][halves[0]].mean() - gap[s][halves[1]].mean() for s in range(2)]
    assert found.difference == pytest.approx(np.mean(of_seeds))
    mean = (gap[0] + gap[1]) / 2
    variance = sum(mean[half].var(ddof=1) / 200 for half in halves) + np.var(of_seeds, ddof=1) / 2
    freedom = variance**2 / (
        sum((mean[half].var(ddof=1) / 200) ** 2 / 199 for half in halves) + (np.var(of_seeds, ddof=1) / 2) ** 2
    )
    assert found.high - found.low == pytest.approx(2 * stats.t.ppf(0.975, freedom) * variance**0.5, rel=1e-9)


def test_one_seed_gives_no_interval_and_equal_arms_no_difference() -> None:
    rows, logits = made()
    one = compare("auc", rows, {"a": [logits], "b": [logits + 1]}, baseline="a")["b"]
    assert np.isnan(one.p)
    assert not one.is_real
    same = compare("auc", rows, {"a": [logits] * 3, "b": [logits] * 3}, baseline="a")["b"]
    assert same.difference == 0
    assert same.p == 1.0


def test_holm_equals_its_definition() -> None:
    assert holm([0.01, 0.04, 0.03, float("nan")])[:3] == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_equal_arms_have_no_uplift() -> None:
    """Sums of shares that are equal but for rounding are ties, not wins."""
    rows, base = made(3, rows=600)
    order = np.argsort(base, kind="stable")
    same = np.empty(600)
    same[order] = np.unique(base[order], return_inverse=True)[1]  # another scale, the same ranking
    found = uplift(rows, [same, base, same], [base, same, base])
    assert found is not None
    assert (found.domains, found.rows, found.ties) == (0.5, 0.5, 1.0)


def test_uplift_counts_domains_with_both_classes() -> None:
    """Truth: AUC by domain of each seed, averaged."""
    rows, base = made(3, rows=600)
    draw = np.random.default_rng(8)
    arms = [[base + draw.normal(0, 0.4, 600) for _ in range(3)] for _ in range(2)]
    means = [
        np.mean([grouped_auc(rows.labels, logits, rows.domains, 12).auc for logits in arm], axis=0) for arm in arms
    ]
    usable = ~np.isnan(means[0])
    found = uplift(rows, *arms)
    assert found is not None
    tied = np.isclose(means[0], means[1], rtol=0, atol=1e-12)
    better = np.where(tied, 0.5, means[0] > means[1])[usable]
    assert found.domains == pytest.approx(better.mean())
    assert found.rows == pytest.approx(np.average(better, weights=np.bincount(rows.domains)[usable]))
    assert found.ties == pytest.approx(tied[usable].mean())


def test_a_domain_in_which_both_arms_are_equal_counts_half_for_each() -> None:
    """Three domains of two rows each: won, lost and tied."""
    rows = TestRows(
        labels=np.array([0.0, 1.0] * 3), domains=np.repeat(np.arange(3), 2), clusters=np.repeat(np.arange(3), 2)
    )
    one, other = np.array([0.0, 1, 1, 0, 0, 0]), np.array([1.0, 0, 0, 1, 0, 0])
    found, mirrored = uplift(rows, [one], [other]), uplift(rows, [other], [one])
    assert found is not None
    assert mirrored is not None
    assert found.domains == pytest.approx(0.5)
    assert found.domains + mirrored.domains == pytest.approx(1.0)
    assert found.ties == pytest.approx(1 / 3)


def test_relative_improvement() -> None:
    assert relative_improvement(0.7, 0.6) == pytest.approx(1.0)
    assert relative_improvement(0.7, 0.5) is None


def world(draw: np.random.Generator, *, effect: float, seeds: int, of_seeds: float, of_clusters: float) -> Gaps:
    """What an arm shows in one world: its true gain there, and the chance of seeds and of 40 clusters of test rows."""
    moves = Moves(
        clusters=np.arange(40), moves=draw.normal(0, of_clusters / 40, 40), shares=np.full(40, 1 / 40)
    )  # fmt: skip
    return Gaps(of_seeds=effect + moves.moves.sum() + draw.normal(0, of_seeds, seeds), of_rows=(moves,))


@pytest.mark.parametrize(
    ("worlds", "seeds", "most"),
    # of two worlds the spread is often below the chance of seeds and rows, which then widens the interval
    [(2, 3, 0.985), (3, 3, 0.965), (4, 1, 0.965)],
)
def test_intervals_over_worlds_cover_the_mean_of_all_worlds_where_others_do_not(
    worlds: int, seeds: int, most: float
) -> None:
    """By simulation: an arm gains 0.3 over all worlds, with a spread of 0.3 between them."""
    draw = np.random.default_rng(4)
    chance = {"seeds": seeds, "of_seeds": 0.05, "of_clusters": 0.1}
    over, pooled, single = [], [], []
    for _ in range(2000):
        found = [world(draw, effect=draw.normal(0.3, 0.3), **chance) for _ in range(worlds)]
        own = over_worlds(found)
        over.append(own.low <= 0.3 <= own.high)
        if seeds > 1:
            together = Gaps(of_seeds=np.concatenate([one.of_seeds for one in found]), of_rows=found[0].of_rows)
            for each, gap in ((pooled, together), (single, found[0])):
                alone = difference_of(gap)
                each.append(alone.low <= 0.3 <= alone.high)
    assert 0.935 < np.mean(over) < most
    if seeds > 1:
        assert np.mean(pooled) < 0.9
        assert np.mean(single) < 0.6


def test_worlds_that_agree_by_chance_do_not_hide_the_chance_of_seeds_and_rows() -> None:
    """By simulation: worlds do not differ, so that the spread over two of them is often far too small by itself."""
    draw = np.random.default_rng(5)
    covered, errors = [], []
    for _ in range(1000):
        found = [world(draw, effect=0.3, seeds=3, of_seeds=0.1, of_clusters=0.1) for _ in range(2)]
        own, each = over_worlds(found), [difference_of(one) for one in found]
        covered.append(own.low <= 0.3 <= own.high)
        errors.append(own.error / (sum(one.error**2 for one in each) ** 0.5 / 2))
    assert np.mean(covered) > 0.95
    assert min(errors) == pytest.approx(1.0)


def test_the_interval_over_worlds_is_that_of_its_equation() -> None:
    """Truth: the t interval of the worlds' means, computed by SciPy."""
    draw = np.random.default_rng(6)
    found = [world(draw, effect=k, seeds=2, of_seeds=0.05, of_clusters=0.1) for k in (0.0, 1.0, 4.0)]
    means = [one.of_seeds.mean() for one in found]
    expected = stats.t.interval(0.95, 2, loc=np.mean(means), scale=stats.sem(means))
    own = over_worlds(found)
    assert (own.low, own.high) == pytest.approx(expected)
    assert own.difference == pytest.approx(np.mean(means))
    assert own.p == pytest.approx(stats.ttest_1samp(means, 0.0).pvalue)
    joint = corrected([own, own])[0]
    assert joint.joint_high - own.difference == pytest.approx(stats.t.ppf(1 - 0.025 / 2, 2) * stats.sem(means))
    assert over_worlds(found[:1]) == difference_of(found[0])
