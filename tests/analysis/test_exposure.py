"""Gain by exposure: bins by property and in whole numbers, each bin against the metrics and statistics of its rows."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from adasparse_cli.analysis.exposure import Exposure, bins_of, exposure
from adasparse_cli.analysis.statistics import Difference, TestRows, compare, contrast, gaps, holm
from adasparse_cli.metrics import compute_metrics

DOMAINS, SEEDS = 14, 3
# training rows of each domain, and whether it has test rows
COUNTS = st.integers(1, 25).flatmap(
    lambda number: st.lists(
        st.tuples(st.integers(0, 3000) | st.integers(0, 5), st.booleans()), min_size=number, max_size=number
    )
)
Logits = dict[str, list[np.ndarray]]


def made(seed: int = 0, *, gain: float = 0.0) -> tuple[TestRows, np.ndarray, Logits]:
    """Rows of 12 of 14 domains, ties among their training rows; one arm gains in the domains with fewest."""
    draw = np.random.default_rng(seed)
    train_rows = np.array([900, 20, 20, 5, 310, 20, 7, 80, 1500, 5, 44, 60, 0, 700])
    of = draw.choice(np.setdiff1d(np.arange(DOMAINS), [4, 12]), 900)
    labels = (draw.random(900) < 0.35).astype(np.float64)
    labels[of == 9] = 1.0  # of one class
    signal = draw.normal(size=900) + 0.8 * labels
    helped = gain * (labels - 0.35) * (train_rows[of] <= 20)
    arms: Logits = {
        "base": [signal + draw.normal(0, 0.5, 900) for _ in range(SEEDS)],
        "one": [signal + helped + draw.normal(0, 0.5, 900) for _ in range(SEEDS)],
        "two": [signal + draw.normal(0, 0.9, 900) for _ in range(SEEDS)],
    }
    arms = {arm: [seed.astype(np.float32) for seed in seeds] for arm, seeds in arms.items()}
    return TestRows(labels=labels, domains=of, clusters=of), train_rows, arms


def chosen(rows: TestRows, arms: Logits, domains: set[int]) -> tuple[TestRows, Logits]:
    """The rows of these domains."""
    inside = [k for k, domain in enumerate(rows.domains.tolist()) if domain in domains]
    own = TestRows(labels=rows.labels[inside], domains=rows.domains[inside], clusters=rows.clusters[inside])
    return own, {arm: [seed[inside] for seed in seeds] for arm, seeds in arms.items()}


def placed(rows: TestRows, train_rows: np.ndarray, number: int) -> list[set[int]]:
    """Bins of equal numbers by a plain sort: the domains that have rows, by training rows and then by id."""
    order = sorted(set(rows.domains.tolist()), key=lambda domain: (train_rows[domain], domain))
    size = len(order) // number
    assert size * number == len(order)
    return [set(order[k * size : (k + 1) * size]) for k in range(number)]


@given(COUNTS, st.integers(1, 8))
@example([(rows, True) for rows in (9, 9, 3, 200, 0, 9, 41, 7, 3000, 12, 5)], 4)
@settings(deadline=None)
def test_bins_hold_equal_numbers_of_present_domains_the_sparsest_first(
    domains: list[tuple[int, bool]], number: int
) -> None:
    train_rows, present = (np.array(column) for column in zip(*domains, strict=True))
    found = bins_of(train_rows, present, number, logarithmic=False).tolist()
    assert len(found) == len(domains)
    assert all((k == -1) != has for k, (_, has) in zip(found, domains, strict=True))
    own = [(k, rows) for k, (rows, has) in zip(found, domains, strict=True) if has]
    assert all(k < number for k, _ in own)
    assert all(k <= j or rows >= more for k, rows in own for j, more in own)
    sizes = [Counter(k for k, _ in own)[k] for k in range(number)]
    assert max(sizes) - min(sizes) <= 1


@given(COUNTS.filter(lambda domains: any(has for _, has in domains)), st.integers(1, 6))
@settings(deadline=None)
def test_logarithmic_edges_stand_at_equal_ratios(domains: list[tuple[int, bool]], number: int) -> None:
    """Truth in whole numbers: with s = rows + 1, s lies above edge j if s^n ≥ least^(n − j) · most^j."""
    train_rows, present = (np.array(column) for column in zip(*domains, strict=True))
    found = bins_of(train_rows, present, number, logarithmic=True).tolist()
    sizes = [rows + 1 for rows, has in domains if has]
    least, most = min(sizes), max(sizes)
    for k, (rows, has) in zip(found, domains, strict=True):
        if not has:
            assert k == -1
            continue
        edges = [least ** (number - j) * most**j for j in range(1, number)]
        above, reached = (sum((rows + 1) ** number > edge - at for edge in edges) for at in (0, 1))
        assert above <= k <= reached  # a domain that stands on an edge may fall on either side by rounding


@pytest.mark.parametrize(
    "logarithmic",
    [
        False,
        True,
    ],
)
def test_without_test_rows_no_domain_is_in_a_bin(logarithmic: bool) -> None:
    assert bins_of(np.array([3, 4]), np.zeros(2, dtype=bool), 5, logarithmic=logarithmic).tolist() == [-1, -1]


@pytest.mark.parametrize("number", [2, 3, 4])
def test_each_bin_is_a_test_set_of_its_own(number: int) -> None:
    rows, train_rows, arms = made()
    found = exposure(rows, train_rows, arms, baseline="base", number=number)
    expected = placed(rows, train_rows, number)
    assert len(found.bins) == number
    for one, domains in zip(found.bins, expected, strict=True):
        own, logits = chosen(rows, arms, domains)
        assert (one.low, one.high) == (min(train_rows[list(domains)]), max(train_rows[list(domains)]))
        assert (one.domains, one.rows) == (len(domains), len(own.labels))
        assert one.positives == sum(label == 1 for label in own.labels.tolist())
        assert set(one.metrics) == {"base", "one", "two"}
        for arm, seeds in logits.items():
            metrics = [compute_metrics(own.labels, seed, own.domains, DOMAINS) for seed in seeds]
            assert one.metrics[arm] == {
                name: pytest.approx(sum(getattr(m, name) for m in metrics) / SEEDS, rel=1e-12)
                for name in ("auc", "gauc_domain", "log_loss")
            }
        compared = compare("gauc_domain", own, logits, baseline="base")
        # not corrected for the number of arms, so that all but the corrected p are those of `compare`
        assert one.gains == {arm: replace(each, p_holm=each.p, comparisons=1) for arm, each in compared.items()}
        assert len(one.gains) == 2


def test_with_one_arm_gains_are_those_of_compare_to_the_last_figure() -> None:
    rows, train_rows, arms = made(1)
    del arms["two"]
    found = exposure(rows, train_rows, arms, baseline="base", number=3)
    for one, domains in zip(found.bins, placed(rows, train_rows, 3), strict=True):
        assert one.gains == compare("gauc_domain", *chosen(rows, arms, domains), baseline="base")


def test_logarithmic_bins_are_used_where_asked_for() -> None:
    """Of 5 … 1500 training rows the middle by ratio, √(6 · 1501) − 1, is 94."""
    rows, train_rows, arms = made()
    found = exposure(rows, train_rows, arms, baseline="base", number=2, logarithmic=True)
    assert [(one.low, one.high, one.domains) for one in found.bins] == [(5, 80, 9), (700, 1500, 3)]


@pytest.mark.parametrize("number", [2, 3, 6])
def test_contrasts_are_of_the_first_bin_and_the_last(number: int) -> None:
    rows, train_rows, arms = made()
    found = exposure(rows, train_rows, arms, baseline="base", number=number)
    expected = placed(rows, train_rows, number)
    first, last = (
        gaps("gauc_domain", *chosen(rows, arms, domains), baseline="base") for domains in (expected[0], expected[-1])
    )
    for arm in ("one", "two"):
        own = found.contrasts[arm]
        assert own is not None
        alone = contrast(first[arm], last[arm])
        for name in ("difference", "error", "freedom"):
            np.testing.assert_array_equal(getattr(own, name), getattr(alone, name))  # NaN is NaN
        assert own.difference == pytest.approx(gain(found, 0, arm).difference - gain(found, -1, arm).difference)
    assert set(found.contrasts) == {"one", "two"}
    contrasts = [own for own in found.contrasts.values() if own is not None]
    np.testing.assert_allclose([own.p_holm for own in contrasts], holm([own.p for own in contrasts]))


def gain(found: Exposure, place: int, arm: str) -> Difference:
    own = found.bins[place].gains[arm]
    assert own is not None
    return own


def test_a_gain_planted_in_the_sparsest_domains_is_found_there() -> None:
    rows, train_rows, arms = made(gain=2.0)
    found = exposure(rows, train_rows, arms, baseline="base", number=2)
    helped, other = found.contrasts["one"], found.contrasts["two"]
    assert helped is not None
    assert other is not None
    assert helped.low > 0.05
    assert other.low < 0 < other.high
    assert gain(found, -1, "one").difference < 0.03 < 0.1 < gain(found, 0, "one").difference


def test_bins_without_a_domain_are_left_out_and_one_bin_has_nothing_to_be_contrasted_with() -> None:
    rows, train_rows, arms = made()
    rows, arms = chosen(rows, arms, {0, 1})
    found = exposure(rows, train_rows, arms, baseline="base", number=5)
    assert [(one.low, one.domains) for one in found.bins] == [(20, 1), (900, 1)]
    assert set(found.contrasts) == {"one", "two"}
    alone = exposure(rows, train_rows, arms, baseline="base", number=1)
    assert len(alone.bins) == 1
    assert alone.contrasts == {}


@pytest.mark.parametrize("which", [0, -1])
def test_nothing_is_said_of_a_bin_whose_domains_are_each_of_one_class(which: int) -> None:
    """Its rows may still be of both classes: then they have an AUC, but no GAUC, no gain, and no contrast."""
    rows, train_rows, arms = made()
    domains = placed(rows, train_rows, 3)[which]
    labels = rows.labels.copy()
    for k, domain in enumerate(rows.domains.tolist()):
        if domain in domains:
            labels[k] = domain % 2
    found = exposure(replace(rows, labels=labels), train_rows, arms, baseline="base", number=3)
    one = found.bins[which]
    assert one.gains == {"one": None, "two": None}
    assert found.contrasts == {"one": None, "two": None}
    for own in one.metrics.values():
        assert own["gauc_domain"] is None
        assert own["auc"] is not None
        assert own["log_loss"] is not None
    assert gain(found, 1, "one").difference != 0


def test_a_bin_of_one_class_has_a_log_loss_alone() -> None:
    rows, train_rows, arms = made()
    sparsest = placed(rows, train_rows, 3)[0]
    labels = np.array([0.0 if d in sparsest else y for d, y in zip(rows.domains, rows.labels, strict=True)])
    one = exposure(replace(rows, labels=labels), train_rows, arms, baseline="base", number=3).bins[0]
    for arm, seeds in chosen(rows, arms, sparsest)[1].items():
        losses = [math.log1p(math.exp(z)) for seed in seeds for z in seed.tolist()]
        assert one.metrics[arm] == {
            "auc": None,
            "gauc_domain": None,
            "log_loss": pytest.approx(sum(losses) / len(losses)),
        }
    assert one.positives == 0


@pytest.mark.parametrize(
    "same_taste",
    [
        False,
        True,
    ],
)
def test_intervals_of_contrasts_cover_the_truth_where_clusters_are_users_with_rows_in_both_bins(
    same_taste: bool,
) -> None:
    """By simulation. Truth: 0, since users for whom the arm is better are as many as those for whom it is worse.

    A user's taste is another in the sparse domain than in the dense one; or the opposite, so that gaps move apart.
    """
    draw = np.random.default_rng(0)
    dense = np.tile(np.repeat([0, 1], 10), 40)
    users = np.repeat(np.arange(40), 20)
    covered = []
    for _ in range(200):
        labels = (draw.random(800) < 0.5).astype(np.float64)
        sparse_taste, dense_taste = draw.normal(0, 1.0, (2, 40))
        taste = np.where(dense, -sparse_taste[users] if same_taste else dense_taste[users], sparse_taste[users])
        noise = draw.normal(size=800)
        base = [noise + draw.normal(0, 0.01, 800) for _ in range(2)]
        arm = [noise + taste * (labels - 0.5) + draw.normal(0, 0.01, 800) for _ in range(2)]
        rows = TestRows(labels=labels, domains=dense, clusters=users)
        found = exposure(rows, np.array([10, 1000]), {"base": base, "arm": arm}, baseline="base", number=2)
        own = found.contrasts["arm"]
        assert own is not None
        covered.append(own.low <= 0 <= own.high)
    assert 0.9 < np.mean(covered) < 0.99
