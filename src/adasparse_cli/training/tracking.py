"""Metrics to other places than the run's own files, for those who look at many runs there.

`metrics.jsonl` holds every line in any case; a tracker receives the same lines. A tracker that fails is left out with a
warning and never ends a run. A run that resumes continues the same record of the tracker, and sends some of its steps a
second time, with the same values.
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
    """Where metrics go beside the run's folder (the `tracking` section).

    Args:
        name: where metrics go: `none`, `tensorboard` or `mlflow`.
        uri: address of MLflow's store; null for a database file below the runs.
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
        # MLflow's own defaults keep a run waiting for minutes where its server is absent
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


class SafeTracker:
    """The tracker of a run, without its faults: the first one is a warning, and nothing is sent from then on.

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
        """A line of metrics.jsonl."""
        with self._guarded():
            if self._tracker is not None:
                self._tracker.line(values)

    def close(self, report: Mapping[str, Any] | None) -> None:
        """The run has ended."""
        with self._guarded():
            if self._tracker is not None:
                self._tracker.close(report)

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except UsageError:
            raise
        except Exception as error:  # whatever another package raises, training does not depend on it
            self._tracker = None
            reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            self._warn(
                f"tracking={self._name} failed and is left out of this run: {reason}; metrics.jsonl has every line"
            )


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
