"""The statistics: influences against brute force, the error against a real bootstrap, the procedure by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import log_loss, roc_auc_score

from adasparse_cli.analysis.statistics import (
    TestRows,
    compare,
    holm,
    influences,
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


def test_the_error_of_rows_is_that_of_a_bootstrap_over_clusters() -> None:
    """Truth: 2,000 draws of domains with replacement, the metrics computed anew in each."""
    draw = np.random.default_rng(1)
    of = draw.integers(0, 60, 3000)
    labels = (draw.random(3000) < 0.3).astype(np.float64)
    taste = draw.normal(0, 0.6, 60)[of]
    base, arm = (labels + draw.normal(size=3000) for _ in range(2))
    arm += taste * (labels - 0.5)
    rows = TestRows(labels=labels, domains=of, clusters=of)
    for metric in ("auc", "gauc_domain", "log_loss"):
        found = compare(metric, rows, {"base": [base, base], "arm": [arm, arm]}, baseline="base")["arm"]
        drawn = []
        for _ in range(300):
            weights = np.bincount(draw.integers(0, 60, 60), minlength=60)[of].astype(np.float64)
            drawn.append(weighted(metric, rows, arm, weights) - weighted(metric, rows, base, weights))
        error = (found.high - found.low) / 2 / stats.t.ppf(0.975, 58)
        assert np.std(drawn) == pytest.approx(error, rel=0.15), metric


def simulated(draw: np.random.Generator, *, gain: float) -> tuple[TestRows, dict[str, list[np.ndarray]]]:
    """A study of 4 seeds: 40 domains with tastes that one of the arms happens to serve, and training's chance."""
    of = np.repeat(np.arange(40), draw.integers(10, 40, 40))
    signal = draw.normal(size=len(of))
    labels = (draw.random(len(of)) < 1 / (1 + np.exp(-signal))).astype(np.float64)
    served = draw.normal(gain, 0.5, 40)[of]
    arms: dict[str, list[np.ndarray]] = {"base": [], "arm": []}
    for _ in range(4):
        arms["base"].append(signal + draw.normal(0, 0.05) * np.sin(of) + draw.normal(0, 1.0, len(of)) * 0.3)
        quality = np.clip(0.5 + served, 0, None)
        arms["arm"].append(signal * quality + draw.normal(0, 0.3, len(of)) * 0.3 + (1 - quality) * 0.5)
    return TestRows(labels=labels, domains=of, clusters=of), arms


def test_intervals_cover_the_truth_at_the_promised_rate_and_no_difference_is_claimed_in_five_of_a_hundred() -> None:
    """Truth: log loss is a mean over rows, so the expected difference is that of a very large study."""
    draw = np.random.default_rng(5)
    expected = []
    for _ in range(300):
        rows, arms = simulated(draw, gain=0.3)
        losses = {
            arm: np.mean([np.logaddexp(0, logits) - rows.labels * logits for logits in seeds])
            for arm, seeds in arms.items()
        }
        expected.append(losses["arm"] - losses["base"])
    truth = float(np.mean(expected))
    covered, claimed = 0, 0
    for _ in range(STUDIES):
        rows, arms = simulated(draw, gain=0.3)
        found = compare("log_loss", rows, arms, baseline="base")["arm"]
        covered += found.low <= truth <= found.high
        # no difference by construction: which arm is which is a coin's choice, cluster by cluster
        flip = draw.integers(0, 2, 40)[rows.domains].astype(bool)
        mixed = {
            "base": [np.where(flip, a, b) for a, b in zip(arms["arm"], arms["base"], strict=True)],
            "arm": [np.where(flip, b, a) for a, b in zip(arms["arm"], arms["base"], strict=True)],
        }
        claimed += compare("log_loss", rows, mixed, baseline="base")["arm"].is_real
    assert 0.91 < covered / STUDIES < 0.985
    assert claimed / STUDIES < 0.085


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
    better = (means[0] > means[1])[usable]
    assert found.domains == pytest.approx(better.mean())
    assert found.rows == pytest.approx(np.average(better, weights=np.bincount(rows.domains)[usable]))


def test_relative_improvement() -> None:
    assert relative_improvement(0.7, 0.6) == pytest.approx(1.0)
    assert relative_improvement(0.7, 0.5) is None
