"""What is said of gain by exposure, also where there is nothing to be said of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
import pytest

from adasparse_cli.analysis.statistics import TestRows
from adasparse_cli.findings.finding import Finding
from adasparse_cli.insights.exposure import exposure_finding
from adasparse_cli.studies.arms import Arm
from adasparse_cli.studies.comparison import COMPARED, Comparison

ROWS_OF_EACH = 40


def report_of(valid: float | None) -> dict[str, Any]:
    cost = {"backbone_multiply_adds": 1, "domain_multiply_adds": 0, "backbone_parameters": 1, "domain_parameters": 0}
    metrics = {"valid": {"gauc_domain": valid}, "test": {}}
    return {"metrics": metrics, "cost": cost, "timings": {"elapsed_seconds": 1.0}}


def finding(
    domains: int,
    *,
    labels: np.ndarray | None = None,
    logarithmic: bool = False,
    valid: Mapping[str, float | None] | None = None,
) -> Finding:
    """Two seeds of the arms that `valid` has the GAUC of, on domains of 10, 20, 30 … training rows."""
    valid = valid or {"dnn": 0.6, "star": 0.6}
    draw = np.random.default_rng(0)
    of = np.repeat(np.arange(domains), ROWS_OF_EACH)
    if labels is None:
        labels = (draw.random(len(of)) < 0.4).astype(np.float64)
    logits = {arm: [draw.normal(size=len(of)) for _ in range(2)] for arm in valid}
    comparison = Comparison(
        arms=tuple(Arm(name=arm, runs={}) for arm in valid), baseline="dnn", seeds=(0, 1), cluster="domain",
        reports={arm: [report_of(value)] * 2 for arm, value in valid.items()}, rows=TestRows(labels=labels, domains=of, clusters=of),
        logits=logits, differences={metric: {} for metric in COMPARED}, uplifts={},
    )  # fmt: skip
    names = [f"d{k}" for k in range(domains)]
    table = pl.DataFrame({"name": names, "train_rows": [10 * (k + 1) for k in range(domains)]})
    for arm in logits:
        table = table.with_columns(pl.Series(f"AUC {arm}", [0.5] * domains))
    found = exposure_finding(comparison, table, bins=2, logarithmic=logarithmic)
    assert found is not None
    return found


def test_each_arm_gets_an_answer() -> None:
    (answer,) = finding(8).answers
    assert answer.startswith("No significant difference between the gains in the sparsest and the densest bin: star (")


@pytest.mark.parametrize(("first", "second", "shown"), [(0.7, 0.6, "star"), (0.6, 0.7, "apg"), (None, 0.1, "apg")])
def test_the_arm_that_one_would_choose_is_shown_first(first: float | None, second: float, shown: str) -> None:
    valid = {"dnn": 0.9, "star": first, "apg": second, "epnet": 0.05}
    (figure,) = finding(8, valid=valid).figures
    assert [trace["name"] for trace in figure.traces if trace["visible"] is True] == [shown]
    assert {trace["name"] for trace in figure.traces} == {"star", "apg", "epnet"}


def test_one_domain_is_told_to_be_too_few() -> None:
    assert finding(1).answers == ["Not available: there is one test domain, and a comparison needs two bins."]


def test_domains_that_are_all_of_one_class_are_told_to_be() -> None:
    labels = np.repeat([0.0, 1.0, 0.0, 1.0], ROWS_OF_EACH)
    assert finding(4, labels=labels).answers == [
        "Not available: no test domain has both classes, so there is no GAUC by domain."
    ]


@pytest.mark.parametrize(("place", "name"), [(0, "sparsest"), (1, "densest")])
def test_the_bin_that_has_no_domain_of_both_classes_is_the_one_that_is_named(place: int, name: str) -> None:
    labels = np.tile([0.0, 1.0], ROWS_OF_EACH)
    labels[place * ROWS_OF_EACH : (place + 1) * ROWS_OF_EACH] = 0.0
    assert finding(2, labels=labels).answers == [
        f"Not available for star: no domain of the {name} bin has both classes."
    ]


def test_notes_say_how_bins_were_cut() -> None:
    assert "equal numbers of domains" in finding(8).notes[0]
    assert "equal ratios of training rows" in finding(8, logarithmic=True).notes[0]
