"""Settings of runs of earlier versions mean what they meant."""

from __future__ import annotations

from adasparse_cli.config.compose import compose
from adasparse_cli.runs.earlier_runs import settings_as_today


def test_regularisers_of_before_count_rows() -> None:
    today = compose("train", ["model.regulariser.per=domain"])
    regulariser = {key: value for key, value in today["model"]["regulariser"].items() if key != "per"}
    threshold = {key: value for key, value in today["model"]["threshold"].items() if key != "window"}
    before = {**today, "model": {**today["model"], "regulariser": regulariser, "threshold": threshold}}
    found = settings_as_today(before)
    assert found["model"]["regulariser"] == {**regulariser, "per": "row"}
    assert found["model"]["threshold"]["window"] is None
    assert settings_as_today(today)["model"] == today["model"]
