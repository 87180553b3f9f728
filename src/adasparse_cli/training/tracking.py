"""Send metrics to experiment trackers (TensorBoard, MLflow).

A tracker receives the lines of `metrics.jsonl`. If a tracker fails, the run continues without it and prints a warning. A
resumed run continues the same record of the tracker, and sends some steps again with the same values.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from adasparse_cli.choices import TrackerName
from adasparse_cli.errors import UsageError
from adasparse_cli.files import read_json, write_json
from adasparse_cli.typed import without_passwords

TRACKER = "tracker.json"
_PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}


@dataclass(frozen=True, kw_only=True)
class TrackingSettings:
    """Settings of the tracker (the `tracking` section).

    Args:
        name: tracker that receives metrics: `none`, `tensorboard` or `mlflow`.
        uri: address of the MLflow store; null for a database file in the directory of runs.
    """

    name: TrackerName
    uri: str | None


class Tracker(Protocol):
    """Receives the metrics of a run."""

    def line(self, values: Mapping[str, Any]) -> None:
        """Receive a line of metrics.jsonl."""

    def close(self, report: Mapping[str, Any] | None) -> None:
        """End the record, with the report of a finished run or None."""


class NoTracker:
    """Ignores metrics."""

    def line(self, values: Mapping[str, Any]) -> None:
        """Do nothing."""

    def close(self, report: Mapping[str, Any] | None) -> None:
        """Do nothing."""


class TensorBoardTracker:
    """Writes event files into the run's folder."""

    def __init__(self, settings: TrackingSettings, folder: Path, runs: Path, config: Mapping[str, Any]) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise _missing("tensorboard") from None
        self._writer = SummaryWriter(str(folder / "tensorboard"))

    def line(self, values: Mapping[str, Any]) -> None:
        """Write each number of the line as a scalar."""
        for name, value in scalars(values).items():
            self._writer.add_scalar(name, value, values["step"])

    def close(self, report: Mapping[str, Any] | None) -> None:
        """Write buffered events."""
        self._writer.close()


class MlflowTracker:
    """Records a run in an MLflow store, with the name of its folder and its settings as parameters."""

    def __init__(self, settings: TrackingSettings, folder: Path, runs: Path, config: Mapping[str, Any]) -> None:
        # with the defaults of MLflow, a run would wait for minutes for an absent server
        for key, value in _PATIENCE.items():
            os.environ.setdefault(key, value)
        try:
            from mlflow.tracking import MlflowClient
        except ImportError:
            raise _missing("mlflow") from None
        self._client = MlflowClient(settings.uri or f"sqlite:///{(runs / 'mlflow.db').resolve()}")
        kept = folder / TRACKER
        if kept.exists():
            self._run = str(read_json(kept)["mlflow_run"])
            self._client.update_run(self._run, status="RUNNING")
            return
        name = folder.parts[-3]
        known = self._client.get_experiment_by_name(name)
        experiment = known.experiment_id if known is not None else self._client.create_experiment(name)
        run = self._client.create_run(experiment, run_name=str(Path(*folder.parts[-2:])))
        self._run = run.info.run_id
        write_json(kept, {"mlflow_run": self._run})
        for key, value in config.items():
            self._client.log_param(
                self._run, key.replace("[", ".").replace("]", ""), without_passwords(str(value))[:500]
            )

    def line(self, values: Mapping[str, Any]) -> None:
        """Log each number of the line as a metric."""
        for name, value in scalars(values).items():
            self._client.log_metric(self._run, name.replace("/", "."), value, step=values["step"])

    def close(self, report: Mapping[str, Any] | None) -> None:
        """Log the test metrics of the best checkpoint and the final status."""
        for name, value in ((report or {}).get("metrics", {}).get("test", {})).items():
            if isinstance(value, (int, float)):
                self._client.log_metric(self._run, f"test.{name}", float(value))
        self._client.set_terminated(self._run, "FINISHED" if report is not None else "KILLED")


TRACKERS: dict[TrackerName, Callable[[TrackingSettings, Path, Path, Mapping[str, Any]], Tracker]] = {
    TrackerName.none: lambda settings, folder, runs, config: NoTracker(),
    TrackerName.tensorboard: TensorBoardTracker,
    TrackerName.mlflow: MlflowTracker,
}


class SafeTracker:
    """The tracker of a run with its errors suppressed: the first error prints a warning and disables the tracker.

    Args:
        warn: receives the warning.

    Raises:
        UsageError: the tracker's package is not installed.
    """

    def __init__(
        self,
        settings: TrackingSettings,
        folder: Path,
        runs: Path,
        config: Mapping[str, Any],
        *,
        warn: Callable[[str], None],
    ) -> None:
        self._name, self._warn = settings.name, warn
        self._tracker: Tracker | None = None
        with self._guarded():
            self._tracker = TRACKERS[settings.name](settings, folder, runs, config)

    def line(self, values: Mapping[str, Any]) -> None:
        """Send a line of metrics.jsonl."""
        with self._guarded():
            if self._tracker is not None:
                self._tracker.line(values)

    def close(self, report: Mapping[str, Any] | None) -> None:
        """End the record."""
        with self._guarded():
            if self._tracker is not None:
                self._tracker.close(report)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except UsageError:
            raise
        except Exception as error:  # training must not depend on errors of another package
            self._tracker = None
            reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            self._warn(
                f"warning: tracking={self._name} failed and is disabled for this run: {reason}; metrics.jsonl has all metrics"
            )


def scalars(values: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a line by name: `train/loss`, `valid/auc`, `train/sparsity/0` …"""
    kind = values["kind"]
    numbers: dict[str, float] = {}
    for name, value in values.items():
        if name in ("kind", "step") or isinstance(value, bool):
            continue
        if isinstance(value, (int, float)):
            numbers[f"{kind}/{name}"] = float(value)
        elif isinstance(value, list):
            numbers |= {f"{kind}/{name}/{k}": float(item) for k, item in enumerate(value)}
    return numbers


def _missing(package: str) -> UsageError:
    return UsageError(
        f"tracking={package} needs the package {package}, which is not installed",
        hint="python -m pip install 'adasparse-cli[tracking]'",
    )
