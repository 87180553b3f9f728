"""Trackers are told the run's own lines, and nobody needs them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from adasparse_cli.choices import TrackerName
from adasparse_cli.errors import UsageError
from adasparse_cli.jobs.tracking import TRACKERS, TrackingSettings, scalars

LINE = {"kind": "train", "step": 7, "loss": 0.5, "sparsity": [0.1, 0.2], "best": True, "auc": None}


def test_every_number_of_a_line_is_a_scalar_by_its_name() -> None:
    assert scalars(LINE) == {"train/loss": 0.5, "train/sparsity/0": 0.1, "train/sparsity/1": 0.2}


@pytest.mark.parametrize("name", [TrackerName.tensorboard, TrackerName.mlflow])
def test_a_tracker_writes_below_the_runs_or_says_what_to_install(tmp_path: Path, name: TrackerName) -> None:
    folder = tmp_path / "runs" / "twin" / "dnn" / "run"
    folder.mkdir(parents=True)
    settings = TrackingSettings(name=name, uri=None)
    if importlib.util.find_spec(name.value) is None:
        with pytest.raises(UsageError, match="not installed") as caught:
            TRACKERS[name](settings, folder, tmp_path / "runs", {"seed": 0})
        assert "adasparse-cli[tracking]" in caught.value.hint
        return
    tracker = TRACKERS[name](settings, folder, tmp_path / "runs", {"seed": 0})
    tracker.line(LINE)
    tracker.close({"metrics": {"test": {"auc": 0.7, "domains": 3}}})
    assert list((tmp_path / "runs").rglob("*tfevents*")) or (tmp_path / "runs" / "mlflow.db").exists()
