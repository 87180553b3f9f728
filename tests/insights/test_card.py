"""The verdict card. Truth: what is visible is the comparison's own figure, and the same rows several times over show half of it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from adasparse_cli.analysis.statistics import Difference, TestRows, compare, difference_of, gaps, together
from adasparse_cli.findings.card import Outcome
from adasparse_cli.findings.wording import listed, two_digits
from adasparse_cli.insights.card import best_arm, card_of, outcome, outcome_of, outcomes
from adasparse_cli.page.write import Page, page_text
from adasparse_cli.studies.arms import Arm
from adasparse_cli.studies.comparison import COMPARED, Comparison
from adasparse_cli.studies.subject import Subject

DOMAINS, ROWS = 60, 6000
Logits = Mapping[str, Sequence[np.ndarray]]


def drawn(*, seeds: int, seed_noise: float, gain: float = 0.0) -> tuple[TestRows, Logits]:
    """An arm whose scores scatter as the baseline's do, over rows alike in all seeds and over seeds."""
    draw = np.random.default_rng(3)
    domains = np.sort(draw.integers(0, DOMAINS, ROWS))
    true = draw.normal(size=ROWS)
    rows = TestRows(
        labels=(draw.random(ROWS) < 1 / (1 + np.exp(-true))).astype(np.int8), domains=domains, clusters=domains
    )
    of_rows = {"dnn": draw.normal(size=ROWS), "fusion": (1 - gain) * draw.normal(size=ROWS)}
    return rows, {
        arm: [true + own + seed_noise * draw.normal() * true * np.abs(true) for _ in range(seeds)]
        for arm, own in of_rows.items()
    }


def subject(rows: TestRows, logits: Logits) -> Subject:
    number = len(logits["dnn"])
    split = {"rows": ROWS, "positives": int(rows.labels.sum())}
    metrics = {"gauc_domain": 0.7, "auc": 0.7, "log_loss": 0.5, "calibration": 1.0, **split}
    report = {
        "data": {"name": "clicks", "fingerprint": "f" * 64, "domain": ["d"], "num_domains": DOMAINS, "splits": {"test": split}},
        "metrics": {"valid": metrics, "test": metrics}, "cost": None, "timings": {"elapsed_seconds": 1.0},
    }  # fmt: skip
    found = {metric: gaps(metric, rows, logits, baseline="dnn") for metric in COMPARED}
    comparison = Comparison(
        arms=[Arm(name=name, runs={}) for name in logits], baseline="dnn", seeds=range(number), cluster="domain",
        reports={name: [report] * number for name in logits}, rows=rows, logits=logits, uplifts={}, gaps=found,
        differences={metric: together({arm: difference_of(gap) for arm, gap in own.items()}) for metric, own in found.items()},
    )  # fmt: skip
    return Subject(title="t", question="q", comparison=comparison, folder=Path(), failed={})


def test_what_would_be_visible_is_what_the_same_rows_several_times_over_show() -> None:
    rows, logits = drawn(seeds=5, seed_noise=0.002)
    found = subject(rows, logits)
    card = card_of(found)
    (arm,) = card.arms
    now = found.comparison.differences["gauc_domain"]["fusion"].detectable
    assert arm.outcome is Outcome.undecided
    assert arm.detectable == pytest.approx(now)
    assert card.headline == "Undecided: fusion does not differ significantly from dnn."
    said = re.match(
        r"Differences below (\S+) cannot be seen reliably with these data\. "
        r"Rough figure: about (\S+) times the test rows would show (\S+)\.$",
        card.remarks[0],
    )
    assert said is not None
    assert (said[1], said[3]) == (two_digits(now), two_digits(now / 2))
    assert arm.larger == f"{said[3]} with about {said[2]}× the test rows"
    times = int(said[2])
    ids = np.concatenate([rows.domains + k * DOMAINS for k in range(times)])
    more = TestRows(labels=np.tile(rows.labels, times), domains=ids, clusters=ids)
    again = compare(
        "gauc_domain",
        more,
        {name: [np.tile(seed, times) for seed in own] for name, own in logits.items()},
        baseline="dnn",
    )
    assert again["fusion"].detectable == pytest.approx(now / 2, rel=0.05)


def test_where_seeds_cause_the_error_seeds_are_what_is_missing() -> None:
    card = card_of(subject(*drawn(seeds=3, seed_noise=0.5)))
    assert "More test rows alone would not show" in card.remarks[0]
    assert re.fullmatch(r"\S+ with about \d+ seeds", card.arms[0].larger)


def test_a_gain_is_better_and_for_the_log_loss_too() -> None:
    found = subject(*drawn(seeds=3, seed_noise=0.002, gain=0.9))
    card = card_of(found)
    assert card.arms[0].outcome is Outcome.better
    assert re.fullmatch(r"fusion \(\+0\.\d{4}\) is better than dnn\.", card.headline)
    (loss,) = outcomes(found.comparison, "log_loss")
    assert loss.difference is not None
    assert loss.difference < 0
    assert loss.outcome is Outcome.better
    # the other metrics say the same, so the card does not repeat them
    assert not any(remark.startswith("By ") for remark in card.remarks)


def test_data_that_can_show_nothing_say_so() -> None:
    """Two seeds that differ widely: what is detectable is more than an AUC can differ by."""
    card = card_of(subject(*drawn(seeds=2, seed_noise=5.0)))
    assert not card.arms[0].can_show
    assert card.remarks[0] == "These data cannot show a difference of realistic size."
    text = page_text(Page(title="t", lead="", facts={}, findings=[], card=card))
    assert "none of realistic size" in text


def test_over_worlds_no_number_of_rows_is_named() -> None:
    worlds = {world: subject(*drawn(seeds=2, seed_noise=0.01)).comparison for world in range(3)}
    first = worlds[0]
    wide = {"fusion": Difference(difference=0.01, error=0.01, freedom=2.0, p_holm=0.4)}
    comparison = dataclasses.replace(
        first, rows=None, logits={}, gaps={}, worlds=worlds, differences=dict.fromkeys(COMPARED, wide)
    )
    card = card_of(Subject(title="t", question="q", comparison=comparison, folder=Path(), failed={}))
    assert re.fullmatch(
        r"Differences below \S+ cannot be seen reliably with these data\. More worlds would show smaller differences\.",
        card.remarks[0],
    )
    assert card.arms[0].larger == ""


@pytest.mark.parametrize("metric", COMPARED)
def test_arms_stand_from_the_best_to_the_worst(metric: str) -> None:
    rows, logits = drawn(seeds=2, seed_noise=0.1)
    more = {**logits, "worse": [0.3 * seed for seed in logits["dnn"]], "noise": [-seed for seed in logits["dnn"]]}
    found = [one.difference or 0.0 for one in outcomes(subject(rows, more).comparison, metric)]
    assert found == sorted(found, reverse=metric != "log_loss")
    assert len(found) == 3


def test_a_metric_that_decides_otherwise_is_on_the_card() -> None:
    found = subject(*drawn(seeds=3, seed_noise=0.002))
    real = Difference(difference=-0.02, error=0.001, freedom=9, p_holm=0.001)
    differences = {**found.comparison.differences, "auc": {"fusion": real}}
    comparison = dataclasses.replace(found.comparison, differences=differences)
    card = card_of(dataclasses.replace(found, comparison=comparison, failed={"star, seed 1": "full disk"}))
    assert card.remarks[1:] == ["By AUC: fusion (-0.0200) is worse than dnn.", "Failed runs: star, seed 1."]


@pytest.mark.parametrize(
    ("difference", "error", "lower", "word"),
    [
        (0.01, 0.001, False, Outcome.better),
        (0.01, 0.001, True, Outcome.worse),
        (-0.01, 0.001, False, Outcome.worse),
        (-0.01, 0.001, True, Outcome.better),
        (0.01, 0.02, False, Outcome.undecided),
        (0.0001, 0.0002, False, Outcome.equal),
        (0.0, 0.0, False, Outcome.undecided),
        (0.01, float("nan"), False, Outcome.unknown),
    ],
)
def test_an_outcome_needs_a_corrected_interval(difference: float, error: float, lower: bool, word: Outcome) -> None:
    found = Difference(difference=difference, error=error, freedom=50, p_holm=0.0)
    assert outcome(dataclasses.replace(found, p_holm=found.p), lower_is_better=lower) is word


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0243, "0.024"), (0.0996, "0.10"), (0.1, "0.10"), (4.04, "4.0"), (15.7, "16"), (123.4, "120"), (999.0, "1000")],
)
def test_a_rough_figure_has_two_digits(value: float, text: str) -> None:
    assert two_digits(value) == text


def test_names_are_listed() -> None:
    assert [listed(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]


@pytest.mark.parametrize(
    ("real", "gain", "joint", "metric", "expected"),
    [
        (True, 0.01, (0.005, 0.015), "auc", Outcome.better),
        (True, -0.01, (-0.015, -0.005), "auc", Outcome.worse),
        (True, -0.01, (-0.015, -0.005), "log_loss", Outcome.better),
        (False, 0.0001, (-0.0005, 0.0007), "auc", Outcome.equal),
        (False, 0.01, (-0.01, 0.03), "auc", Outcome.undecided),
        (None, 0.01, (None, None), "auc", None),
    ],
)
def test_a_row_of_a_study_has_a_verdict_in_words(
    real: bool | None, gain: float, joint: tuple[float | None, float | None], metric: str, expected: Outcome | None
) -> None:
    row = {
        f"{metric}_real": real,
        f"{metric}_difference": gain,
        f"{metric}_joint_low": joint[0],
        f"{metric}_joint_high": joint[1],
    }
    assert outcome_of(row, metric) is expected


@pytest.mark.parametrize(
    ("metric", "intervals", "best"),
    [
        ("auc", {"a": (0.01, 0.02), "b": (-0.01, 0.005)}, "a"),
        ("auc", {"a": (0.01, 0.02), "b": (0.015, 0.03)}, None),
        ("auc", {"a": (-0.03, -0.02), "b": (-0.03, -0.01)}, "dnn"),
        ("auc", {"a": (-0.03, 0.02)}, None),
        ("log_loss", {"a": (-0.03, -0.02), "b": (0.01, 0.02)}, "a"),
        ("auc", {"a": (0.01, 0.02), "b": (None, None)}, None),
    ],
)
def test_an_arm_is_best_only_where_its_interval_is_above_all_others(
    metric: str, intervals: dict[str, tuple[float | None, float | None]], best: str | None
) -> None:
    rows = [{"arm": "dnn", f"{metric}_joint_low": None, f"{metric}_joint_high": None}]
    rows += [
        {"arm": arm, f"{metric}_joint_low": low, f"{metric}_joint_high": high} for arm, (low, high) in intervals.items()
    ]
    assert best_arm(SimpleNamespace(baseline="dnn", table=lambda: rows), metric) == best  # type: ignore[arg-type]
