"""Similarity of domains against plain loops; Mantel's test against scipy, full enumeration and simulation."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from adasparse_cli.analysis.mantel import mantel
from adasparse_cli.analysis.similarity import (
    FEATURE_VALUES,
    LABEL_VALUES,
    SHRINKAGE,
    feature_similarity,
    key_pairs,
    key_similarity,
    label_similarity,
    planted_similarity,
)

CHOSEN = np.array([4, 0, 3, 1])  # not in order, and without domain 2


def made(seed: int, rows: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ids of a field with more values than are looked at one by one, of a middling one and of a small one."""
    draw = np.random.default_rng(seed)
    domains = np.minimum(draw.geometric(0.35, rows) - 1, 4)
    wide = (draw.zipf(1.4, rows) + 3 * domains) % 60
    ids = np.stack([wide, draw.integers(0, 14, rows), (draw.integers(0, 3, rows) + domains) % 4], axis=1)
    labels = draw.random(rows) < 0.1 + 0.1 * domains * (ids[:, 2] % 2)
    return ids.astype(np.int32), labels.astype(np.float32), domains.astype(np.int64)


def frequent(column: list[int], number: int) -> list[int]:
    """The most frequent values, of equally frequent ones the lower."""
    return [value for value, _ in sorted(Counter(column).items(), key=lambda item: (-item[1], item[0]))[:number]]


def symmetric(values: list[float], number: int) -> np.ndarray:
    """A symmetric matrix with these values off its diagonal."""
    matrix = np.zeros((number, number))
    for value, (a, b) in zip(values, itertools.combinations(range(number), 2), strict=True):
        matrix[a, b] = matrix[b, a] = value
    return matrix


KEYS = st.integers(1, 4).flatmap(
    lambda fields: st.lists(
        st.lists(st.sampled_from(["", "a", "b", "ab", "ä", "10", "missing"]), min_size=fields, max_size=fields),
        min_size=1,
        max_size=6,
    )
)


@given(KEYS)
def test_key_similarity_is_the_share_of_equal_fields(domains: list[list[str]]) -> None:
    found = key_similarity(list(zip(*domains, strict=True)))
    for a, one in enumerate(domains):
        for b, other in enumerate(domains):
            assert found[a, b] == pytest.approx(sum(x == y for x, y in zip(one, other, strict=True)) / len(one))


@pytest.mark.parametrize("seed", range(3))
def test_feature_similarity_equals_total_variation_by_loops(seed: int) -> None:
    """Values beyond the 32 most frequent of a field count as one."""
    ids, _, domains = made(seed)
    found = feature_similarity(ids, domains, CHOSEN)
    expected = np.zeros((4, 4))
    for column in ids.T.tolist():
        looked_at = frequent(column, FEATURE_VALUES)
        shares = []
        for domain in CHOSEN:
            own = [value if value in looked_at else -1 for value, d in zip(column, domains, strict=True) if d == domain]
            shares.append({value: count / len(own) for value, count in Counter(own).items()})
        for a, b in itertools.product(range(4), repeat=2):
            values = shares[a].keys() | shares[b].keys()
            expected[a, b] += 1 - sum(abs(shares[a].get(v, 0) - shares[b].get(v, 0)) for v in values) / 2
    np.testing.assert_allclose(found, expected / 3, atol=1e-12)
    assert len(set(ids[:, 0].tolist())) > FEATURE_VALUES
    assert 0.02 < found[0, 1] < 0.98


def test_halves_of_one_distribution_tend_to_be_alike() -> None:
    draw = np.random.default_rng(0)
    found = []
    for rows in (40, 1000, 40_000):
        ids = np.stack([draw.integers(0, 20, rows), draw.binomial(10, 0.3, rows)], axis=1).astype(np.int32)
        found.append(feature_similarity(ids, draw.integers(0, 2, rows), np.array([0, 1]))[0, 1])
    assert found == sorted(found)
    assert found[0] < 0.9
    assert found[2] > 0.98


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=30))
def test_domains_without_a_common_value_are_wholly_unlike_and_each_is_like_itself(
    rows: list[tuple[int, int, int]],
) -> None:
    domains = np.array([domain for domain, _, _ in rows])
    ids = np.array([[5 * domain + one, 10 - 5 * domain + other] for domain, one, other in rows], dtype=np.int32)
    chosen = np.unique(domains)
    np.testing.assert_allclose(feature_similarity(ids, domains, chosen), np.eye(len(chosen)), atol=1e-12)


def test_nothing_is_said_of_the_features_of_a_domain_without_rows() -> None:
    """The caller chooses domains by the rows of another split than the one whose rows are compared."""
    ids = np.array([[0], [1]], dtype=np.int32)
    found = feature_similarity(ids, np.array([0, 1]), np.array([0, 1, 2, 3]))
    assert np.isnan(found[0, 2])
    assert np.isnan(found[2, 3])


def label_table(ids: np.ndarray, labels: np.ndarray, domains: np.ndarray) -> list[list[float]]:
    """log((y + κ) / (e + κ)) per chosen domain and (field, value), counted row by row."""
    rows = [
        (line, label > 0.5, domain)
        for line, label, domain in zip(ids.tolist(), labels.tolist(), domains.tolist(), strict=True)
    ]
    base = sum(y for _, y, _ in rows) / len(rows)
    table = []
    for domain in CHOSEN.tolist():
        own = [(line, y) for line, y, d in rows if d == domain]
        lift = (sum(y for _, y in own) + SHRINKAGE) / (len(own) * base + SHRINKAGE)
        cells = []
        for field, column in enumerate(ids.T.tolist()):
            for value in frequent(column, LABEL_VALUES):
                everywhere = [y for line, y, _ in rows if line[field] == value]
                holding = [y for line, y in own if line[field] == value]
                expected = len(holding) * lift * sum(everywhere) / len(everywhere)
                cells.append(math.log((sum(holding) + SHRINKAGE) / (expected + SHRINKAGE)))
        table.append(cells)
    return table


@pytest.mark.parametrize("seed", range(3))
def test_label_similarity_equals_a_correlation_by_loops(seed: int) -> None:
    ids, labels, domains = made(seed)
    expected = np.corrcoef(label_table(ids, labels, domains))
    np.testing.assert_allclose(label_similarity(ids, labels, domains, CHOSEN), expected, atol=1e-10)
    assert np.abs(expected[np.triu_indices(4, 1)]).max() < 0.95


def test_label_similarity_separates_tastes_that_agree_from_those_that_do_not() -> None:
    """Domains 0, 2, 4 like even values and the others odd ones; base rates differ and must not matter."""
    draw = np.random.default_rng(1)
    domains = draw.integers(0, 6, 12_000)
    ids = draw.integers(0, 8, (12_000, 2)).astype(np.int32)
    likes = np.where(ids[:, 0] % 2 == domains % 2, 1.6, 0.4)
    labels = (draw.random(12_000) < likes * (0.1 + 0.05 * (domains // 2))).astype(np.float32)
    found = label_similarity(ids, labels, domains, np.arange(6))
    agree = [found[a, b] for a, b in itertools.combinations(range(6), 2) if a % 2 == b % 2]
    disagree = [found[a, b] for a, b in itertools.combinations(range(6), 2) if a % 2 != b % 2]
    assert min(agree) > 0.7
    assert max(disagree) < -0.7


def test_a_domain_without_rows_or_a_world_without_positives_says_nothing_of_labels() -> None:
    ids, labels, domains = made(0)
    assert not label_similarity(ids, np.zeros_like(labels), domains, CHOSEN).any()
    found = label_similarity(ids, labels, np.where(domains == 2, 6, domains), np.array([0, 1, 2]))
    assert not found[2].any()
    assert not found[:, 2].any()
    assert found[0, 0] == pytest.approx(1)


def test_a_domain_that_training_never_saw_says_nothing_of_labels() -> None:
    """Such domains are numbered last (schema.Manifest.num_domains), and the caller may choose them."""
    ids, labels, domains = made(0)
    found = label_similarity(ids, labels, domains, np.array([0, 1, 5]))
    assert not found[2].any()
    assert not found[:, 2].any()


def test_fields_that_never_vary_say_nothing_of_labels() -> None:
    draw = np.random.default_rng(0)
    for _ in range(20):
        labels = (draw.random(60) < 0.3).astype(np.float32)
        found = label_similarity(np.zeros((60, 3), dtype=np.int32), labels, draw.integers(0, 4, 60), np.arange(4))
        assert not found.any()


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 10)), min_size=1, max_size=7))
def test_planted_similarity_is_the_cosine_of_mixtures(domains: list[tuple[int, int, int]]) -> None:
    first, second, tenths = (np.array(column) for column in zip(*domains, strict=True))
    found = planted_similarity(first, second, tenths / 10)
    mixtures = []
    for one, other, tenth in domains:
        mixture = [0.0] * 5
        mixture[one] += 1 - tenth / 10
        mixture[other] += tenth / 10
        mixtures.append(mixture)
    for a, x in enumerate(mixtures):
        for b, y in enumerate(mixtures):
            cosine = sum(i * j for i, j in zip(x, y, strict=True)) / math.hypot(*x) / math.hypot(*y)
            assert found[a, b] == pytest.approx(cosine, abs=1e-12)


# few distinct values, so that ties are common
PAIRS = st.integers(3, 7).flatmap(
    lambda number: st.tuples(
        st.just(number),
        *[st.lists(st.integers(0, 4).map(float), min_size=math.comb(number, 2), max_size=math.comb(number, 2))] * 2,
    )
)


@given(PAIRS)
@settings(deadline=None)
def test_mantels_correlation_is_spearmans_over_pairs(made: tuple[int, list[float], list[float]]) -> None:
    """And None where one side is all the same, for which scipy has no answer either."""
    number, x, y = made
    found = mantel(symmetric(x, number), symmetric(y, number), permutations=3)
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert found is None
    else:
        assert found is not None
        assert found.correlation == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)
        assert found.p * 4 in (1, 2, 3, 4)


def test_mantel_says_nothing_where_a_side_does_not_vary_or_two_domains_are_all() -> None:
    varied, constant = symmetric([1.0, 2.0, 3.0], 3), symmetric([0.1, 0.1, 0.1], 3)
    assert mantel(varied, varied) is not None
    assert mantel(varied, constant) is None
    assert mantel(constant, varied) is None
    assert mantel(constant, constant) is None
    assert mantel(np.eye(2), np.eye(2)) is None


@pytest.mark.parametrize("seed", range(4))
def test_mantels_p_is_the_share_of_all_orders_that_give_as_much(seed: int) -> None:
    """Truth: all 120 orders of five domains, each with scipy's correlation."""
    draw = np.random.default_rng(seed)
    x = draw.integers(0, 6, 10).astype(np.float64)
    y = np.round(x / 3 + draw.random(10))
    one, other = symmetric(x.tolist(), 5), symmetric(y.tolist(), 5)
    pairs = list(itertools.combinations(range(5), 2))
    of_orders = []
    for order in itertools.permutations(range(5)):
        shuffled = [other[order[a], order[b]] for a, b in pairs]
        of_orders.append(float(np.corrcoef(stats.rankdata(x), stats.rankdata(shuffled))[0, 1]))
    exact = sum(value >= of_orders[0] - 1e-9 for value in of_orders) / 120
    found = mantel(one, other, permutations=3000, seed=seed)
    assert found is not None
    assert found.p == pytest.approx(exact, abs=4 * (exact * (1 - exact) / 3000) ** 0.5 + 1 / 3000)
    assert found.permutations == 3000


def test_mantels_p_is_about_uniform_where_nothing_is_related() -> None:
    """By simulation: distances of two sets of points that know nothing of each other, as pairs of domains depend."""
    draw = np.random.default_rng(2)
    found = []
    for k in range(600):
        points, others = draw.normal(size=(8, 2)), draw.normal(size=(8, 2))
        one, other = (np.linalg.norm(p[:, None] - p[None, :], axis=2) for p in (points, others))
        test = mantel(one, other, permutations=99, seed=k)
        assert test is not None
        found.append(test.p)
    assert 0.03 < np.mean(np.array(found) < 0.05 + 1e-9) < 0.07
    assert stats.kstest(found, "uniform").pvalue > 0.01


def test_mantel_finds_a_planted_relation_and_not_its_opposite() -> None:
    draw = np.random.default_rng(3)
    x = draw.random(66)
    one, other = symmetric(x.tolist(), 12), symmetric((x + draw.normal(0, 0.2, 66)).tolist(), 12)
    found, opposite = mantel(one, other), mantel(one, -other)
    assert found is not None
    assert opposite is not None
    assert found.p == pytest.approx(1 / 1000)  # the least that 999 shuffles can give
    assert opposite.correlation == pytest.approx(-found.correlation)
    assert opposite.p > 0.99
    assert mantel(one, other) == found


@given(st.integers(3, 9), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=30)
def test_mantel_does_not_care_how_domains_are_numbered_nor_for_the_diagonal(number: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    x, y = (draw.integers(0, 9, math.comb(number, 2)).astype(np.float64).tolist() for _ in range(2))
    assume(len(set(x)) > 1 and len(set(y)) > 1)
    one, other = symmetric(x, number), symmetric(y, number)
    order = draw.permutation(number)
    found = mantel(one, other, permutations=199)
    moved = mantel(one[np.ix_(order, order)], other[np.ix_(order, order)], permutations=199)
    assert found is not None
    assert moved is not None
    assert moved.correlation == pytest.approx(found.correlation, abs=1e-12)
    # the same chance, from other shuffles
    assert abs(moved.p - found.p) < 6 * (2 * 0.25 / 199) ** 0.5
    assert mantel(one + np.diag(draw.random(number)), other - 5 * np.eye(number), permutations=199) == found


def test_beyond_factors_only_what_they_do_not_explain_counts() -> None:
    """Truth: correlation of the residuals of two least-squares fits on dummies; and a relation that goes through the factors alone."""
    draw = np.random.default_rng(11)
    keys = [[f"v{v}" for v in draw.integers(0, levels, 40)] for levels in (2, 4, 5)]
    factors = key_pairs(keys)
    pairs = np.triu_indices(40, 1)
    effects = [draw.normal(size=factor.max() + 1)[factor] for factor in factors[:-1]]
    one, other = (symmetric(draw.random(40 * 39 // 2).tolist(), 40) for _ in range(2))
    through = np.sum(effects, axis=0)
    a, b = 8 * one + through, 8 * other + through  # noise enough that ranks are nearly linear in the effects
    direct, beyond = mantel(a, b), mantel(a, b, given=factors)
    assert direct is not None
    assert beyond is not None
    dummies = np.concatenate([np.eye(factor.max() + 1)[factor[pairs]] for factor in factors], axis=1)
    left = []
    for matrix in (a, b):
        ranks = stats.rankdata(matrix[pairs])
        left.append(ranks - dummies @ np.linalg.lstsq(dummies, ranks, rcond=None)[0])
    assert beyond.correlation == pytest.approx(np.corrcoef(*left)[0, 1], abs=1e-6)
    assert direct.p < 0.01
    assert beyond.p > 0.05
    both = mantel(8 * one + through, one + other, given=factors)
    assert both is not None
    assert both.p < 0.01


def test_nothing_is_left_of_what_one_factor_explains_wholly() -> None:
    key = [f"v{k % 3}" for k in range(12)]
    factor, shared = key_pairs([key])
    np.testing.assert_array_equal(shared == 1, np.array(key)[:, None] == np.array(key)[None, :])
    assert mantel(np.sqrt(factor + 1.0), np.cos(factor.astype(np.float64)), given=[factor]) is None


@given(st.lists(st.sampled_from("abc"), min_size=2, max_size=9))
def test_key_pairs_name_the_two_values_whatever_their_order(key: list[str]) -> None:
    found = key_pairs([key])[0]
    for a, b in itertools.product(range(len(key)), repeat=2):
        for c, d in itertools.product(range(len(key)), repeat=2):
            assert (found[a, b] == found[c, d]) == ({key[a], key[b]} == {key[c], key[d]})
