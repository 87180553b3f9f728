"""Metrics to other places than the run's own files, for those who look at many runs there.

The JSON lines of the run stand in any case; a tracker is told the same lines. A run that goes on after it was stopped
tells some of its steps a second time, with the same values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from adasparse_cli.choices import TrackerName
from adasparse_cli.errors import UsageError
from adasparse_cli.typed import without_passwords


@dataclass(frozen=True, kw_only=True)
class TrackingSettings:
    """Where metrics go beside the run's folder (the `tracking` section).

    Args:
        name: `none`, `tensorboard` or `mlflow`.
        uri: of MLflow's store; null for a database file below the runs.
    """

    name: TrackerName
    uri: str | None


class Tracker(Protocol):
    """What is told of a run."""

    def line(self, values: Mapping[str, Any]) -> None:
        """A line of metrics.jsonl."""

    def close(self, report: Mapping[str, Any] | None) -> None:
        """The run has ended, with this report or without one."""


class NoTracker:
    """Tells nobody."""

    def line(self, values: Mapping[str, Any]) -> None:
        """Nothing."""

    def close(self, report: Mapping[str, Any] | None) -> None:
        """Nothing."""


class TensorBoardTracker:
    """Event files below the run's folder."""

    def __init__(self, settings: TrackingSettings, folder: Path, runs: Path, config: Mapping[str, Any]) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise _missing("tensorboard") from None
        self._writer = SummaryWriter(str(folder / "tensorboard"))

    def line(self, values: Mapping[str, Any]) -> None:
        """Each number of the line as a scalar."""
        for name, value in scalars(values).items():
            self._writer.add_scalar(name, value, values["step"])

    def close(self, report: Mapping[str, Any] | None) -> None:
        """Write what is waiting."""
        self._writer.close()


class MlflowTracker:
    """A run in an MLflow store, named by the run's folder, with its settings as parameters."""

    def __init__(self, settings: TrackingSettings, folder: Path, runs: Path, config: Mapping[str, Any]) -> None:
        try:
            from mlflow.tracking import MlflowClient
        except ImportError:
            raise _missing("mlflow") from None
        self._client = MlflowClient(settings.uri or f"sqlite:///{(runs / 'mlflow.db').resolve()}")
        name = folder.parts[-3]
        known = self._client.get_experiment_by_name(name)
        experiment = known.experiment_id if known is not None else self._client.create_experiment(name)
        run = self._client.create_run(experiment, run_name=str(Path(*folder.parts[-2:])))
        self._run = run.info.run_id
        for key, value in config.items():
            self._client.log_param(
                self._run, key.replace("[", ".").replace("]", ""), without_passwords(str(value))[:500]
            )

    def line(self, values: Mapping[str, Any]) -> None:
        """Each number of the line as a metric."""
        for name, value in scalars(values).items():
            self._client.log_metric(self._run, name.replace("/", "."), value, step=values["step"])

    def close(self, report: Mapping[str, Any] | None) -> None:
        """The metrics of the kept weights on the test split, and how the run ended."""
        for name, value in ((report or {}).get("metrics", {}).get("test", {})).items():
            if isinstance(value, (int, float)):
                self._client.log_metric(self._run, f"test.{name}", float(value))
        self._client.set_terminated(self._run, "FINISHED" if report is not None else "KILLED")


TRACKERS: dict[TrackerName, Callable[[TrackingSettings, Path, Path, Mapping[str, Any]], Tracker]] = {
    TrackerName.none: lambda settings, folder, runs, config: NoTracker(),
    TrackerName.tensorboard: TensorBoardTracker,
    TrackerName.mlflow: MlflowTracker,
}


def scalars(values: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a line: `train/loss`, `valid/auc`, `train/sparsity/0` …"""
    kind = values["kind"]
    found: dict[str, float] = {}
    for name, value in values.items():
        if name in ("kind", "step") or isinstance(value, bool):
            continue
        if isinstance(value, (int, float)):
            found[f"{kind}/{name}"] = float(value)
        elif isinstance(value, list):
            found |= {f"{kind}/{name}/{k}": float(item) for k, item in enumerate(value)}
    return found


def _missing(package: str) -> UsageError:
    return UsageError(
        f"tracking={package} needs the package {package}, which is not installed",
        hint="python -m pip install 'adasparse-cli[tracking]'",
    )
