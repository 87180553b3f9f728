"""What a larger study would show. Truth: the same test rows several times over, in domains of their own, compared anew."""

from __future__ import annotations

import math

import numpy as np
import pytest

from adasparse_cli.analysis.detectability import detectable_with, rows_and_seeds_for, rows_for, seeds_for
from adasparse_cli.analysis.statistics import Gaps, Moves, TestRows, compare, gaps

DOMAINS = 30


def made(seeds: int = 4, noise: float = 0.05) -> tuple[TestRows, dict[str, list[np.ndarray]]]:
    draw = np.random.default_rng(5)
    domains = np.sort(draw.integers(0, DOMAINS, 3000))
    true = draw.normal(size=3000)
    labels = (draw.random(3000) < 1 / (1 + np.exp(-true))).astype(np.int8)
    rows = TestRows(labels=labels, domains=domains, clusters=domains)
    arms = {
        name: [true + scale * draw.normal(size=3000) + noise * draw.normal() * true**2 for _ in range(seeds)]
        for name, scale in (("base", 1.0), ("one", 0.9), ("two", 1.1))
    }
    return rows, arms


def copied(rows: TestRows, times: int) -> TestRows:
    ids = np.concatenate([rows.domains + k * DOMAINS for k in range(times)])
    return TestRows(labels=np.tile(rows.labels, times), domains=ids, clusters=ids)


@pytest.mark.parametrize("metric", ["gauc_domain", "auc", "log_loss"])
@pytest.mark.parametrize("times", [1, 2, 4])
def test_more_rows_detect_what_the_same_rows_in_new_domains_detect(metric: str, times: int) -> None:
    rows, arms = made()
    found = gaps(metric, rows, arms, baseline="base")
    more = {name: [np.tile(seed, times) for seed in own] for name, own in arms.items()}
    truth = compare(metric, copied(rows, times), more, baseline="base")
    for arm in ("one", "two"):
        assert detectable_with(found[arm], times=times, comparisons=2) == pytest.approx(truth[arm].detectable, rel=1e-9)


def test_where_rows_cause_all_of_the_error_four_times_the_rows_halve_what_can_be_seen() -> None:
    """Truth: the square root. Seeds do not differ, and clusters are many and equal."""
    effects = np.random.default_rng(0).normal(size=4000) / 4000
    found = Gaps(of_seeds=np.full(3, 0.01), of_rows=(Moves.of(np.arange(4000), effects, np.full(4000, 1 / 4000)),))
    now = detectable_with(found, times=1, comparisons=1)
    assert detectable_with(found, times=4, comparisons=1) == pytest.approx(now / 2, rel=1e-3)
    assert rows_for(found, now / 2, comparisons=1) == pytest.approx(4, rel=0.02)
    assert rows_for(found, now / 3, comparisons=1) == pytest.approx(9, rel=0.02)
    # more seeds do not help where seeds cause no error
    assert seeds_for(found, now / 2, comparisons=1) is None


def test_where_seeds_cause_all_of_the_error_more_rows_do_not_help() -> None:
    found = Gaps(
        of_seeds=np.array([0.0, 0.02, -0.02, 0.01]),
        of_rows=(Moves.of(np.arange(9), np.zeros(9), np.full(9, 1 / 9)),),
    )
    now = detectable_with(found, times=1, comparisons=3)
    assert detectable_with(found, times=900, comparisons=3) == pytest.approx(now)
    assert rows_for(found, now / 2, comparisons=3) is None
    seeds = seeds_for(found, now / 2, comparisons=3)
    assert seeds is not None
    assert (
        detectable_with(found, seeds=seeds, comparisons=3)
        <= now / 2
        < detectable_with(found, seeds=seeds - 1, comparisons=3)
    )


def test_the_answer_is_the_first_that_reaches_the_target() -> None:
    rows, arms = made()
    found = gaps("gauc_domain", rows, arms, baseline="base")["one"]
    target = detectable_with(found, times=1, comparisons=2) * 0.8
    times = rows_for(found, target, comparisons=2)
    assert times is not None
    assert (
        detectable_with(found, times=times, comparisons=2)
        <= target
        < detectable_with(found, times=times / 1.01, comparisons=2)
    )
    assert rows_for(found, math.inf, comparisons=2) == 1


def test_rows_and_seeds_grow_together() -> None:
    """Truth: with S = 2 and more rows alone, t of one degree of freedom remains."""
    rows, arms = made(seeds=2, noise=0.2)
    found = gaps("auc", rows, arms, baseline="base")["one"]
    target = detectable_with(found, comparisons=1) / 2
    both = rows_and_seeds_for(found, target, comparisons=1)
    assert both is not None
    times, seeds = both
    assert times == seeds / 2
    assert detectable_with(found, times=times, seeds=seeds, comparisons=1) <= target
    assert detectable_with(found, times=(seeds - 1) / 2, seeds=seeds - 1, comparisons=1) > target
    alone = seeds_for(found, target, comparisons=1)
    assert alone is None or alone >= seeds


def test_nothing_is_said_of_one_seed() -> None:
    rows, arms = made(seeds=1)
    found = gaps("gauc_domain", rows, arms, baseline="base")["one"]
    assert math.isnan(detectable_with(found, times=2, comparisons=1))
    assert rows_for(found, 0.01, comparisons=1) is None
    assert seeds_for(found, 0.01, comparisons=1) is None
    assert rows_and_seeds_for(found, 0.01, comparisons=1) is None
