"""Overlap of two domains against Python sets, plain means and scikit-learn."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import cohen_kappa_score

from adasparse_cli.analysis.overlap import clustered, overlap

# quarters, so that shares of exactly one half are common
SHARES = st.tuples(st.integers(1, 5), st.integers(1, 9)).flatmap(
    lambda shape: arrays(np.int64, shape, elements=st.integers(0, 4)).map(lambda quarters: quarters / 4)
)


def jaccard(one: set[int], other: set[int]) -> float:
    return len(one & other) / len(one | other) if one | other else float("nan")


@given(SHARES)
@settings(deadline=None, max_examples=60)
def test_overlap_equals_sets_kappa_and_plain_means(shares: np.ndarray) -> None:
    found = overlap(shares, prunes=True)
    number = shares.shape[1]
    active = [{n for n in range(number) if row[n] >= 0.5} for row in shares.tolist()]
    pruned = [set(range(number)) - own for own in active]
    for a, one in enumerate(shares.tolist()):
        for b, other in enumerate(shares.tolist()):
            assert found.active[a, b] == pytest.approx(jaccard(active[a], active[b]), nan_ok=True)
            assert found.pruned[a, b] == pytest.approx(jaccard(pruned[a], pruned[b]), nan_ok=True)
            mean = sum(abs(x - y) for x, y in zip(one, other, strict=True)) / number
            assert found.closeness[a, b] == pytest.approx(1 - mean)
            if len(active[a]) == len(active[b]) and len(active[a]) in (0, number):
                assert np.isnan(found.excess[a, b])  # any two such sets are equal, by chance or not
            else:
                judged = [[n in own for n in range(number)] for own in (active[a], active[b])]
                assert found.excess[a, b] == pytest.approx(cohen_kappa_score(*judged, labels=[False, True]), abs=1e-12)


@given(st.lists(st.booleans(), min_size=2, max_size=20).filter(lambda uses: 0 < sum(uses) < len(uses)))
def test_equal_sets_overlap_wholly(uses: list[bool]) -> None:
    found = overlap(np.array([uses, uses], dtype=np.float64), prunes=True)
    for matrix in (found.active, found.pruned, found.excess, found.closeness):
        assert matrix.tolist() == [[1, 1], [1, 1]]


@pytest.mark.parametrize(("one", "other"), [(3, 3), (2, 9), (5, 11), (6, 6)])
def test_the_excess_of_random_sets_is_nothing_on_average_whatever_their_sizes(one: int, other: int) -> None:
    """By simulation: 300 random sets of each size out of 12, all pairs; the Jaccard index is far from constant."""
    draw = np.random.default_rng(0)
    sets = np.zeros((600, 12))
    for k in range(600):
        sets[k, draw.choice(12, one if k < 300 else other, replace=False)] = 1
    found = overlap(sets, prunes=True)
    assert abs(found.excess[:300, 300:].mean()) < 0.01
    assert found.active[:300, 300:].mean() > 0.1


def test_what_means_nothing_is_not_a_number() -> None:
    """No active neuron on either side; none pruned on either side; and one against the other, which chance explains."""
    found = overlap(np.array([[0.0, 0.4, 0.0], [0.0, 0.0, 0.0], [1.0, 0.5, 1.0], [1.0, 1.0, 1.0]]), prunes=True)
    nan = float("nan")
    none, every = [nan, nan, 0, 0], [1, 1, 0, 0]
    np.testing.assert_array_equal(found.active, [none, none, [0, 0, 1, 1], [0, 0, 1, 1]])
    np.testing.assert_array_equal(found.pruned, [every, every, [0, 0, nan, nan], [0, 0, nan, nan]])
    np.testing.assert_array_equal(found.excess, [none, none, [0, 0, nan, nan], [0, 0, nan, nan]])


@given(SHARES)
def test_scaling_has_closeness_alone(shares: np.ndarray) -> None:
    found = overlap(shares, prunes=False)
    np.testing.assert_array_equal(found.closeness, overlap(shares, prunes=True).closeness)
    for matrix in (found.active, found.pruned, found.excess):
        assert matrix.shape == found.closeness.shape
        assert np.isnan(matrix).all()


@given(st.integers(0, 12), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_an_order_holds_every_domain_once(number: int, seed: int) -> None:
    half = np.random.default_rng(seed).random((number, number))
    closeness = (half + half.T) / 2
    np.fill_diagonal(closeness, 1.0)
    before = closeness.copy()
    order = clustered(closeness)
    assert sorted(order.tolist()) == list(range(number))
    np.testing.assert_array_equal(closeness, before)


@given(
    st.lists(st.booleans(), min_size=4, max_size=14).filter(lambda of: 2 <= sum(of) <= len(of) - 2), st.integers(0, 99)
)
@settings(deadline=None)
def test_two_planted_blocks_stand_together(of: list[bool], seed: int) -> None:
    """Whatever the order they come in: inside a block closeness is above 0.7, between blocks below 0.5."""
    draw = np.random.default_rng(seed)
    closeness = np.eye(len(of))
    for a in range(len(of)):
        for b in range(a):
            closeness[a, b] = closeness[b, a] = draw.uniform(0.7, 1.0) if of[a] == of[b] else draw.uniform(0.0, 0.5)
    ordered = [of[k] for k in clustered(closeness).tolist()]
    assert sum(a != b for a, b in itertools.pairwise(ordered)) == 1
