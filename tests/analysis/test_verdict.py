"""Verdicts follow from where an interval lies."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from adasparse_cli.analysis.statistics import Difference, corrected
from adasparse_cli.analysis.verdict import SMALLEST, Verdict, alike, better, no_worse, together

HOLDS, FAILS, UNDECIDED = Verdict.holds, Verdict.fails, Verdict.undecided


def difference(low: float, high: float, p: float, *, comparisons: int = 1) -> Difference:
    """A difference whose joint interval is this one, with a corrected p that need not fit it."""
    reach = float(stats.t.ppf(1 - 0.025 / comparisons, 30))
    return Difference(
        difference=(low + high) / 2, error=(high - low) / 2 / reach, freedom=30.0, p_holm=p, comparisons=comparisons
    )


@pytest.mark.parametrize("comparisons", [1, 11])
@pytest.mark.parametrize(
    ("low", "high", "p", "of_better", "of_no_worse", "of_alike"),
    [
        (0.002, 0.010, 0.001, HOLDS, HOLDS, FAILS),  # a real gain
        (0.002, 0.010, 0.200, UNDECIDED, HOLDS, UNDECIDED),  # not real any more once corrected
        (-0.003, 0.008, 0.300, UNDECIDED, UNDECIDED, UNDECIDED),  # anything may be true
        (-0.0005, 0.0004, 0.900, FAILS, HOLDS, HOLDS),  # no difference that matters
        (-0.008, 0.0004, 0.060, FAILS, UNDECIDED, UNDECIDED),  # no gain that matters
        (-0.009, -0.002, 0.001, FAILS, FAILS, FAILS),  # a real loss
        (float("nan"), float("nan"), float("nan"), UNDECIDED, UNDECIDED, UNDECIDED),  # one seed
        (0.0, 0.0, 1.0, UNDECIDED, UNDECIDED, UNDECIDED),  # nothing differs on any row that counts
    ],
)
def test_verdicts_by_where_the_joint_interval_ends(
    low: float, high: float, p: float, of_better: Verdict, of_no_worse: Verdict, of_alike: Verdict, comparisons: int
) -> None:
    found = difference(low, high, p, comparisons=comparisons)
    assert (better(found), no_worse(found), alike(found)) == (of_better, of_no_worse, of_alike)


def test_a_claim_does_not_fail_on_an_interval_that_is_not_corrected() -> None:
    """Eleven arms without a gain that matters, of which chance shows one below the line by itself."""
    alone = Difference(difference=-0.001, error=0.0009, freedom=30.0, p_holm=1.0)
    together_ = corrected([alone] * 11)[0]
    assert alone.high < SMALLEST
    assert better(alone) is FAILS
    assert together_.high < SMALLEST < together_.joint_high
    assert better(together_) is UNDECIDED


@pytest.mark.parametrize("arms", [1, 5, 11])
def test_claims_that_are_true_fail_in_one_of_twenty_studies_at_most(arms: int) -> None:
    """By simulation: every arm has a gain of exactly the smallest that matters; how often is any of them said to have none?"""
    draw = np.random.default_rng(4)
    error, freedom, wrong = 0.002, 20.0, 0
    for _ in range(4000):
        t = draw.standard_t(freedom, arms)
        found = [
            Difference(difference=SMALLEST + error * float(one), error=error, freedom=freedom, p_holm=1.0) for one in t
        ]
        wrong += any(better(one) is FAILS for one in corrected(found))
    assert wrong / 4000 < 0.05


@given(st.floats(-0.02, 0.02), st.floats(1e-6, 0.02), st.floats(0, 1))
def test_no_interval_lets_a_claim_and_its_opposite_hold(middle: float, reach: float, p: float) -> None:
    one = difference(middle - reach, middle + reach, p)
    other = difference(-middle - reach, -middle + reach, p)
    assert not (better(one) is HOLDS and better(other) is HOLDS)
    assert not (better(one) is HOLDS and alike(one) is HOLDS and one.low > SMALLEST)


@given(st.lists(st.sampled_from(list(Verdict)), max_size=5))
def test_a_claim_of_parts_holds_if_all_do_and_fails_if_one_does(parts: list[Verdict]) -> None:
    expected = FAILS if FAILS in parts else HOLDS if parts and set(parts) == {HOLDS} else UNDECIDED
    assert together(parts) is expected


def test_looking_at_several_differences_makes_each_less_certain() -> None:
    errors = [0.0055 / float(stats.t.isf(p / 2, 30)) for p in (0.01, 0.03, 0.04)]
    found = corrected([Difference(difference=0.0055, error=e, freedom=30.0, p_holm=0.0) for e in errors])
    assert [one.p_holm for one in found] == pytest.approx([0.03, 0.06, 0.06])
    for one in found:
        assert one.joint_low < one.low < one.high < one.joint_high


def test_the_other_side_of_a_difference_is_its_mirror() -> None:
    found = replace(
        corrected([Difference(difference=0.2, error=0.3, freedom=9.0, p_holm=0.0)] * 2)[0], bounds=(-0.1, 0.9)
    )
    other = found.negated()
    assert (other.low, other.high) == (-found.high, -found.low)
    assert (other.joint_low, other.joint_high) == (-found.joint_high, -found.joint_low)
    assert (other.p, other.p_holm, other.detectable) == (found.p, found.p_holm, found.detectable)
    assert found.low == -0.1
