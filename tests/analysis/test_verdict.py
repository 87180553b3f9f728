"""Verdicts follow from where an interval lies."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adasparse_cli.analysis.statistics import Difference
from adasparse_cli.analysis.verdict import SMALLEST, Verdict, alike, better, corrected, no_worse, together

HOLDS, FAILS, UNDECIDED = Verdict.holds, Verdict.fails, Verdict.undecided


def difference(low: float, high: float, p: float) -> Difference:
    return Difference(difference=(low + high) / 2, low=low, high=high, p=p, p_holm=p, detectable=0.0)


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
def test_verdicts_by_where_the_interval_lies(
    low: float, high: float, p: float, of_better: Verdict, of_no_worse: Verdict, of_alike: Verdict
) -> None:
    found = difference(low, high, p)
    assert (better(found), no_worse(found), alike(found)) == (of_better, of_no_worse, of_alike)


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
    found = corrected([difference(0.001, 0.01, p) for p in (0.01, 0.03, 0.04)])
    assert [one.p_holm for one in found] == pytest.approx([0.03, 0.06, 0.06])
