"""What is said of gain by exposure, also where there is nothing to be said of it."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from adasparse_cli.analysis.statistics import TestRows
from adasparse_cli.findings import Finding
from adasparse_cli.jobs.comparison import Comparison
from adasparse_cli.jobs.exposure import exposure_finding

ROWS_OF_EACH = 40


def finding(domains: int, *, labels: np.ndarray | None = None, logarithmic: bool = False) -> Finding:
    """Two arms and two seeds on domains of 10, 20, 30 … training rows."""
    draw = np.random.default_rng(0)
    of = np.repeat(np.arange(domains), ROWS_OF_EACH)
    if labels is None:
        labels = (draw.random(len(of)) < 0.4).astype(np.float64)
    logits = {arm: [draw.normal(size=len(of)) for _ in range(2)] for arm in ("dnn", "star")}
    comparison = Comparison(
        arms=(), baseline="dnn", seeds=(0, 1), cluster="domain", reports={}, rows=TestRows(labels=labels, domains=of, clusters=of),
        logits=logits, differences={}, uplifts={},
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
    assert answer.startswith("star: the gain in the sparsest bin d")


def test_one_domain_is_told_to_be_too_few() -> None:
    assert finding(1).answers == ["No answer can be had: there is one test domain, and it takes two bins to compare."]


def test_domains_that_are_all_of_one_class_are_told_to_be() -> None:
    labels = np.repeat([0.0, 1.0, 0.0, 1.0], ROWS_OF_EACH)
    assert finding(4, labels=labels).answers == [
        "No answer can be had: no test domain has both classes, so there is no GAUC by domain."
    ]


@pytest.mark.parametrize(("place", "name"), [(0, "sparsest"), (1, "densest")])
def test_the_bin_that_has_no_domain_of_both_classes_is_the_one_that_is_named(place: int, name: str) -> None:
    labels = np.tile([0.0, 1.0], ROWS_OF_EACH)
    labels[place * ROWS_OF_EACH : (place + 1) * ROWS_OF_EACH] = 0.0
    assert finding(2, labels=labels).answers == [
        f"star: no domain of the {name} bin has both classes, so nothing can be said of it."
    ]


def test_notes_say_how_bins_were_cut() -> None:
    assert "equal numbers of domains" in finding(8).notes[0]
    assert "equal ratios of training rows" in finding(8, logarithmic=True).notes[0]
