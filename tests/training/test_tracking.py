"""Trackers are told the run's own lines, and nobody needs them."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from adasparse_cli.choices import TrackerName
from adasparse_cli.errors import UsageError
from adasparse_cli.files import read_json
from adasparse_cli.training import tracking
from adasparse_cli.training.tracking import TRACKERS, SafeTracker, TrackingSettings, scalars

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


class Broken:
    """A tracker whose store goes away at one of its calls."""

    def __init__(self, at: str) -> None:
        self.at, self.calls = at, []

    def line(self, values: Mapping[str, Any]) -> None:
        self._call("line")

    def close(self, report: Mapping[str, Any] | None) -> None:
        self._call("close")

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name == self.at:
            raise ConnectionError("the server is gone\nand has more to say")


@pytest.mark.parametrize("at", ["start", "line", "close"])
def test_a_tracker_that_fails_is_left_out_with_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    broken, warnings = Broken(at), []

    def start(*given: Any) -> Broken:
        if at == "start":
            raise ConnectionError("the server is gone")
        return broken

    monkeypatch.setitem(tracking.TRACKERS, TrackerName.mlflow, start)
    settings = TrackingSettings(name=TrackerName.mlflow, uri=None)
    tracker = SafeTracker(settings, tmp_path, tmp_path, {}, warn=warnings.append)
    for _ in range(3):
        tracker.line(LINE)
    tracker.close(None)
    (warning,) = warnings
    assert "tracking=mlflow failed" in warning
    assert "the server is gone" in warning
    assert broken.calls == {"start": [], "line": ["line"], "close": ["line"] * 3 + ["close"]}[at]


def test_a_tracker_that_is_not_installed_is_an_error_not_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(*given: Any) -> Broken:
        raise UsageError("not installed", hint="install it")

    monkeypatch.setitem(tracking.TRACKERS, TrackerName.mlflow, start)
    with pytest.raises(UsageError):
        SafeTracker(TrackingSettings(name=TrackerName.mlflow, uri=None), tmp_path, tmp_path, {}, warn=print)


@pytest.mark.skipif(importlib.util.find_spec("mlflow") is None, reason="mlflow is not installed")
def test_a_run_that_resumes_continues_its_record_in_mlflow(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "twin" / "dnn" / "run"
    folder.mkdir(parents=True)
    settings = TrackingSettings(name=TrackerName.mlflow, uri=None)
    ids = set()
    for _ in range(2):
        TRACKERS[TrackerName.mlflow](settings, folder, tmp_path / "runs", {"seed": 0}).line(LINE)
        ids.add(read_json(folder / "tracker.json")["mlflow_run"])
    assert len(ids) == 1
