"""Metrics against scikit-learn and against plain loops written here."""

from __future__ import annotations

import math
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import log_loss as sklearn_log_loss
from sklearn.metrics import roc_auc_score

from adasparse_cli.metrics import (
    BLOCK,
    auc,
    calibration,
    calibration_error,
    compute_metrics,
    grouped_auc,
    log_loss,
    per_domain,
)


def pairwise_auc(labels: list[int], scores: list[float]) -> float | None:
    """The definition: over all pairs of a positive and a negative."""
    wins, pairs = 0.0, 0
    for y, s in zip(labels, scores, strict=True):
        for other, t in zip(labels, scores, strict=True):
            if y == 1 and other == 0:
                pairs += 1
                wins += 1.0 if s > t else 0.5 if s == t else 0.0
    return wins / pairs if pairs else None


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("levels", [3, 50, 10**9])
def test_auc_equals_scikit_learns_with_and_without_ties(dtype: type, levels: int) -> None:
    draw = np.random.default_rng(levels)
    labels = draw.integers(0, 2, 3000)
    scores = (draw.integers(-levels, levels, 3000) / 7 + labels).astype(dtype)
    assert auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_grouped_auc_equals_scikit_learn_in_each_group(dtype: type) -> None:
    draw = np.random.default_rng(0)
    groups = np.minimum(draw.geometric(0.05, 5000), 200)
    labels = (draw.random(5000) < 0.1).astype(int)
    scores = draw.normal(size=5000).round(1).astype(dtype)
    found = grouped_auc(labels, scores, groups, 205)
    numerator = denominator = 0.0
    for group in range(205):
        own = groups == group
        assert found.rows[group] == own.sum()
        assert found.positives[group] == labels[own].sum()
        if len(np.unique(labels[own])) == 2:
            expected = roc_auc_score(labels[own], scores[own])
            assert found.auc[group] == pytest.approx(expected, abs=1e-12)
            numerator += own.sum() * expected
            denominator += own.sum()
        else:
            assert math.isnan(found.auc[group])
    assert found.weighted() == pytest.approx(numerator / denominator, abs=1e-12)


def test_one_class_and_empty_groups_leave_numerator_and_denominator_and_are_counted() -> None:
    labels = np.array([1, 0, 1, 1, 0, 0, 0])
    scores = np.array([0.9, 0.1, 0.5, 0.6, 0.3, 0.3, 0.2])
    groups = np.array([0, 0, 1, 1, 3, 3, 3])  # 0: both classes, 1: positives only, 2: empty, 3: negatives only
    found = grouped_auc(labels, scores, groups, 4)
    assert found.weighted() == found.unweighted() == 1.0
    assert found.one_class_groups == 2
    assert found.one_class_row_share == pytest.approx(5 / 7)


def test_what_cannot_be_computed_is_not_available() -> None:
    empty = np.zeros(0)
    assert auc(empty, empty) is log_loss(empty, empty) is calibration(empty, empty) is None
    assert calibration_error(empty, empty) is None
    ones = compute_metrics(np.ones(3), np.zeros(3, dtype=np.float32), np.zeros(3, dtype=int), 1)
    assert ones.auc is ones.gauc_domain is ones.gauc_domain_unweighted is None
    assert ones.log_loss == pytest.approx(math.log(2))
    assert all(value is None or math.isfinite(value) for value in ones.to_json().values())


def test_log_loss_equals_scikit_learns_and_stays_finite_far_out() -> None:
    draw = np.random.default_rng(1)
    labels, logits = draw.integers(0, 2, 500), draw.normal(size=500) * 3
    assert log_loss(labels, logits) == pytest.approx(sklearn_log_loss(labels, 1 / (1 + np.exp(-logits))), abs=1e-12)
    assert log_loss(np.array([0, 1]), np.array([800.0, -800.0])) == pytest.approx(800.0)


def test_calibration_is_predicted_over_actual_positives() -> None:
    logits = np.log(np.array([0.2, 0.4, 0.9]) / np.array([0.8, 0.6, 0.1]))
    assert calibration(np.array([0, 1, 1]), logits) == pytest.approx(1.5 / 2)


def test_calibration_error_equals_a_plain_loop_over_bins() -> None:
    draw = np.random.default_rng(2)
    logits = draw.normal(size=1003)
    labels = (draw.random(1003) < 0.3).astype(int)
    rows = sorted(zip((1 / (1 + np.exp(-logits))).tolist(), labels.tolist(), strict=True), key=lambda row: row[0])
    expected = 0.0
    for k in range(20):
        own = rows[k * 1003 // 20 : (k + 1) * 1003 // 20]
        expected += abs(sum(p for p, _ in own) - sum(y for _, y in own)) / 1003
    assert calibration_error(labels, logits) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("order", ["as drawn", "positives first", "positives last"])
def test_calibration_error_does_not_depend_on_the_order_of_rows_that_tie(order: str) -> None:
    """A constant prediction that is right has no error, whatever the order; two levels are right or wrong as they are."""
    draw = np.random.default_rng(5)
    labels = (draw.random(2000) < 0.25).astype(int)
    if order != "as drawn":
        labels = np.sort(labels)[:: -1 if order == "positives first" else 1]
    rate = labels.mean()
    assert calibration_error(labels, np.full(2000, np.log(rate / (1 - rate)))) == pytest.approx(0.0, abs=1e-12)
    assert calibration_error(labels, np.zeros(2000)) == pytest.approx(0.5 - rate, abs=1e-12)


def test_per_domain_equals_plain_loops() -> None:
    draw = np.random.default_rng(3)
    domains, labels = draw.integers(0, 9, 400), draw.integers(0, 2, 400)
    logits = draw.normal(size=400).astype(np.float32)
    found = per_domain(labels, logits, domains, 10)
    for domain in range(9):
        own = domains == domain
        assert found["log_loss"][domain] == pytest.approx(log_loss(labels[own], logits[own]), abs=1e-12)
        assert found["calibration"][domain] == pytest.approx(calibration(labels[own], logits[own]), abs=1e-12)
        assert found["auc"][domain] == pytest.approx(auc(labels[own], logits[own]), abs=1e-12)
    assert all(np.isnan(found[name][9]) for name in ("auc", "log_loss", "calibration"))


rows_of_scores = st.lists(
    st.tuples(st.integers(0, 1), st.integers(-6, 6).map(lambda k: k / 4), st.integers(0, 3)), min_size=1, max_size=40
)


@settings(max_examples=150, deadline=None)
@given(rows_of_scores, st.booleans())
def test_grouped_auc_is_the_definition(rows: list[tuple[int, float, int]], single: bool) -> None:
    """Truth: the definition over all pairs; −0.0 and 0.0 are one score."""
    labels, scores, groups = (np.array(column) for column in zip(*rows, strict=True))
    found = grouped_auc(labels, (scores * -1).astype(np.float32 if single else np.float64), groups, 4)
    for group in range(4):
        own = [(y, -s) for y, s, g in rows if g == group]
        expected = pairwise_auc([y for y, _ in own], [s for _, s in own])
        assert (np.isnan(found.auc[group]) and expected is None) or found.auc[group] == pytest.approx(
            expected, abs=1e-12
        )


@settings(max_examples=80, deadline=None)
@given(rows_of_scores)
def test_auc_does_not_depend_on_order_or_scale_and_mirrors_with_the_labels(rows: list[tuple[int, float, int]]) -> None:
    labels, scores, _ = (np.array(column) for column in zip(*rows, strict=True))
    value = auc(labels, scores)
    order = np.random.default_rng(len(rows)).permutation(len(rows))
    assert auc(labels[order], scores[order]) == value
    assert auc(labels, np.exp(scores)) == value
    mirrored = auc(1 - labels, scores)
    assert (value is None and mirrored is None) or mirrored == pytest.approx(1 - value, abs=1e-12)  # type: ignore[operator]


def test_rows_without_a_user_are_no_user() -> None:
    """394 rows without a user ranked wrongly leave the GAUC by user what it is for the others."""
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 2, 600)
    logits = draw.normal(size=600) + labels
    users = np.repeat(np.arange(20), 30)
    without = users.copy()
    without[:390] = -1
    domains = np.zeros(600, dtype=np.int64)
    found = compute_metrics(labels, logits, domains, 1, without)
    own = compute_metrics(labels[390:], logits[390:], domains[390:], 1, users[390:])
    assert found.gauc_user == own.gauc_user
    assert (found.rows_without_user, own.rows_without_user) == (390, 0)
    assert found.one_class_users == own.one_class_users
    nobody = compute_metrics(labels, logits, domains, 1, np.full(600, -1))
    assert (nobody.gauc_user, nobody.rows_without_user) == (None, 600)
    assert compute_metrics(labels, logits, domains, 1).rows_without_user is None


def plain_metrics(labels: NDArray[Any], logits: NDArray[Any], domains: NDArray[Any], count: int) -> dict[str, Any]:
    """Each metric from whole arrays, in NumPy's own order of summation."""
    z, y = logits.astype(np.float64), labels.astype(np.float64)
    losses, predicted = np.logaddexp(0.0, z) - y * z, np.exp(-np.logaddexp(0.0, -z))
    order = np.argsort(logits, kind="stable")
    run = np.cumsum(np.r_[False, logits[order][1:] != logits[order][:-1]])
    gaps = predicted[order] - (np.bincount(run, weights=y[order]) / np.bincount(run))[run]
    sums = np.add.reduceat(gaps, np.unique(np.arange(20) * len(y) // 20))
    with np.errstate(invalid="ignore", divide="ignore"):
        rows, positives = (np.bincount(domains, weights=one, minlength=count) for one in (None, y))
        of_domain = np.bincount(domains, weights=losses, minlength=count) / rows
        ratio = np.bincount(domains, weights=predicted, minlength=count) / positives
    return {
        "log_loss": losses.mean(),
        "calibration": predicted.sum() / y.sum(),
        "calibration_error": np.abs(sums).sum() / len(y),
        "of_domain": of_domain,
        "ratio": np.where(positives > 0, ratio, np.nan),
    }


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rows", [1_000, BLOCK + 1, 3 * BLOCK + 12_345])
@pytest.mark.parametrize("levels", [1, 7, 10**6])
def test_blocks_of_rows_give_the_bits_of_whole_arrays(dtype: type, rows: int, levels: int) -> None:
    """With one level all scores are tied, over the ends of all blocks."""
    draw = np.random.default_rng(rows)
    labels, domains = (draw.random(rows) < 0.1).astype(np.int8), draw.integers(0, 60, rows).astype(np.int32)
    logits = ((draw.normal(size=rows) * levels).round() / levels if levels > 1 else np.full(rows, -2.0)).astype(dtype)
    found = compute_metrics(labels, logits, domains, 64, np.where(domains > 3, domains * 1000, -1))
    expected, of_domain = plain_metrics(labels, logits, domains, 64), per_domain(labels, logits, domains, 64)
    for name in ("log_loss", "calibration", "calibration_error"):
        assert getattr(found, name) == expected[name], name
    np.testing.assert_array_equal(of_domain["log_loss"], expected["of_domain"])
    np.testing.assert_array_equal(of_domain["calibration"], expected["ratio"])
    assert found.auc == pytest.approx(roc_auc_score(labels, logits), abs=1e-12)
    users = [k for k in range(4, 60) if len(set(labels[domains == k])) == 2]
    weights = [int((domains == k).sum()) for k in users]
    own = [of_domain["auc"][k] for k in users]
    assert found.gauc_user == np.average(own, weights=weights)


def test_metrics_hold_a_few_bytes_per_row() -> None:
    """Beside the input: 8 bytes of sorted rows, and of rows with a user their scores and at most a group each."""
    draw, rows = np.random.default_rng(0), 1_200_000
    labels, logits = (draw.random(rows) < 0.1).astype(np.int8), draw.normal(size=rows).astype(np.float32)
    domains, users = draw.integers(0, 300, rows).astype(np.int32), draw.integers(0, rows, rows).astype(np.int32)
    for own, most in ((None, 18), (users, 55)):
        tracemalloc.start()
        compute_metrics(labels, logits, domains, 300, own)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < most * rows
