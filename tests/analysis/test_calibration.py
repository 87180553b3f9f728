"""Reliability bins. Truth: SciPy's interval of Wilson, and means by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from adasparse_cli.analysis.calibration import reliability, wilson


@pytest.mark.parametrize(("positives", "rows"), [(0, 7), (7, 7), (1, 300), (30, 100), (5, 5000)])
def test_the_interval_is_wilsons(positives: int, rows: int) -> None:
    truth = binomtest(positives, rows).proportion_ci(method="wilson")
    assert wilson(positives, rows) == (pytest.approx(truth.low, abs=1e-12), pytest.approx(truth.high, abs=1e-12))


def test_bins_have_equal_counts_and_the_means_of_their_rows() -> None:
    draw = np.random.default_rng(1)
    seeds = [draw.normal(size=105) for _ in range(3)]
    labels = draw.integers(0, 2, 105)
    mean = np.mean([1 / (1 + np.exp(-seed)) for seed in seeds], axis=0)
    order = np.argsort(mean)
    bins = reliability(labels, seeds)
    assert [one.rows for one in bins] == [11] * 5 + [10] * 5
    assert bins[0].predicted == pytest.approx(mean[order[:11]].mean())
    assert bins[0].positives == labels[order[:11]].sum()
    assert bins[-1].actual == pytest.approx(labels[order[-10:]].mean())
    assert [one.predicted for one in bins] == sorted(one.predicted for one in bins)
    assert all(one.low <= one.actual <= one.high for one in bins)


def test_fewer_rows_than_bins_make_fewer_bins() -> None:
    assert [one.rows for one in reliability(np.array([0, 1, 1]), [np.array([0.1, 0.2, 0.3])])] == [1, 1, 1]
