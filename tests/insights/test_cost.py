"""The picture of quality against cost. Truth: GAUC, intervals and rates that are put into the reports."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from adasparse_cli.findings.finding import Style
from adasparse_cli.insights.cost import cost_finding, rates_shown
from adasparse_cli.insights.differences import verdict
from adasparse_cli.studies.comparison import Comparison
from tests.insights.test_card import drawn, subject


def measured(gauc: float, uncut: float | None, cut: float | None, yardstick: float = 100.0) -> dict[str, Any]:
    serving = None
    if uncut is not None:
        serving = {
            "engine": "numpy", "rows": 10, "conditions": 2, "rounds": 5, "yardstick": yardstick, "uncut": uncut,
            "sub_networks": cut, "sub_network_multiply_adds": None if cut is None else 12.4,
        }  # fmt: skip
    return {"gauc": gauc, "timings": {"elapsed_seconds": 1.0, "rows_per_second": 50.0, "serving": serving}}


def comparison(**arms: dict[str, Any]) -> Comparison:
    found = subject(*drawn(seeds=3, seed_noise=0.002, gain=0.9)).comparison
    reports = {}
    for name, own in arms.items():
        one = dict(found.reports[name][0])
        one["metrics"] = {split: {**values, "gauc_domain": own["gauc"]} for split, values in one["metrics"].items()}
        reports[name] = [{**one, "timings": own["timings"]}] * 3
    return dataclasses.replace(found, reports=reports)


def test_each_arm_is_a_mark_in_its_style_at_its_rate_and_gauc() -> None:
    own = comparison(dnn=measured(0.70, 1000.0, None), fusion=measured(0.72, 800.0, 3000.0))
    found = cost_finding(own)
    assert found is not None
    (figure,) = found.figures
    dnn, fusion = figure.traces
    assert (dnn["x"], dnn["y"]) == ([1000.0], [pytest.approx(0.70)])
    assert (fusion["x"], fusion["y"]) == ([3000.0], [pytest.approx(0.72)])  # by sub-networks, not the uncut network
    assert [one["marker"]["color"] for one in (dnn, fusion)] == [Style.of(0).colour, Style.of(1).colour]
    gap = own.differences["gauc_domain"]["fusion"]
    assert fusion["error_y"]["array"] == pytest.approx([gap.high - gap.difference])
    assert fusion["error_y"]["arrayminus"] == pytest.approx([gap.difference - gap.low])
    assert dnn["error_y"]["array"] == [None]
    assert figure.layout["xaxis"]["ticktext"][:4] == ["1,000", "2,000", "5,000", "10,000"]
    assert figure.layout["shapes"][0]["y0"] == pytest.approx(0.70)
    assert found.answers == ["Faster and better than dnn: fusion (3.0 times)."]
    (table,) = found.tables
    assert table.rows[1]["sub-networks rows/s"] == 3000
    assert table.rows[1]["serving rows/s"] == 800
    assert table.rows[1]["serving, % of dnn"] == 300
    assert table.rows[1]["of sub-networks"] == 12


def test_slower_arms_are_not_called_faster() -> None:
    found = cost_finding(comparison(dnn=measured(0.70, 1000.0, None), fusion=measured(0.72, 800.0, None)))
    assert found is not None
    assert found.answers == ["No arm serves more rows per second than dnn."]
    assert "sub-networks rows/s" not in found.tables[0].rows[0]


def test_runs_of_earlier_versions_have_no_picture_and_no_columns() -> None:
    own = comparison(dnn=measured(0.70, None, None), fusion=measured(0.72, 800.0, None))
    assert cost_finding(own) is None
    table = own.table()
    assert rates_shown(table[0], table) == {"training rows/s": 50, "serving rows/s": None}
    found = subject(*drawn(seeds=3, seed_noise=0.002))  # reports with nothing of it
    assert cost_finding(found.comparison) is None
    quality = verdict(found).tables[0]
    assert not any("rows/s" in name for name in quality.rows[0])
