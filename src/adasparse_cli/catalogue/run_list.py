"""Lists runs: when each was trained, for which study, with which settings and metrics."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from adasparse_cli.choices import RunOrder, nearest_names
from adasparse_cli.config.settings_words import settings_words
from adasparse_cli.errors import AdasparseError, IntegrityError, UsageError
from adasparse_cli.prepared.files import open_prepared
from adasparse_cli.runs.chosen import all_runs, settings_of, state_of, study_arms
from adasparse_cli.runs.saved_run import read_config, read_report

_METRICS = {RunOrder.auc: ("AUC", -1), RunOrder.gauc: ("GAUC by domain", -1), RunOrder.log_loss: ("log loss", 1)}


def list_runs(
    root: Path,
    studies: Path = Path("studies"),
    *,
    data: str | None = None,
    model: str | None = None,
    study: str | None = None,
    order: RunOrder = RunOrder.time,
    limit: int | None = None,
) -> list[dict[str, Any]]:
    """List the runs below `root`.

    Args:
        data, model, study: list only runs of this data set, this model in any mode, this study.
        limit: list only the best runs by a metric, or the newest ones.

    Raises:
        UsageError: there is no run of this data set, model or study.
    """
    of_studies = _studies_by_run(studies)
    places = [_Place(folder, root, tuple(of_studies.get(folder.resolve(), ()))) for folder in all_runs(root)]
    for what, name, names_of in (
        ("data set", data, _Place.data_names),
        ("model", model, _Place.model_names),
        ("study", study, _Place.study_names),
    ):
        if name is not None and places:
            places = _only(places, what, name, names_of)
    if order is RunOrder.time and limit is not None:
        places = places[-limit:]
    prepared = _Fingerprints(root)
    rows = _ordered([_run_row(place, prepared) for place in places], order)
    return rows if order is RunOrder.time or limit is None else rows[:limit]


class _Place:
    """The information about a run from its folder name and the studies, before any of its files is read."""

    def __init__(self, folder: Path, root: Path, studies: tuple[str, ...]) -> None:
        self.folder, self.studies = folder, studies
        self.data, self.model, self.name = folder.relative_to(root).parts

    def data_names(self) -> Sequence[str]:
        return (self.data,)

    def model_names(self) -> Sequence[str]:
        """The name of its folder, and the same name without mode and `placebo`."""
        parts = self.model.split("-")
        return ["-".join(parts[:number]) for number in range(len(parts), 0, -1)]

    def study_names(self) -> Sequence[str]:
        return self.studies

    @property
    def trained(self) -> str | None:
        """The start time of its training, in UTC."""
        try:
            found = datetime.strptime(self.name.split("-")[0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        except ValueError:
            return None
        return found.strftime("%Y-%m-%d %H:%M:%S")


class _Fingerprints:
    """The fingerprints of the currently prepared data; each manifest is read once."""

    def __init__(self, root: Path) -> None:
        self._beside = root.parent / "data"
        self._known: dict[Path, str | None] = {}

    def are_there(self, folder: Path, name: str, fingerprint: str) -> bool:
        """Whether the data of a run are prepared: where it was trained, in the current folder or next to its runs."""
        if any(self._fingerprint(parent / name) == fingerprint for parent in (Path("data"), self._beside)):
            return True
        try:
            own = Path(str(read_config(folder)["paths"]["data"]))
        except (IntegrityError, KeyError, TypeError):
            return False
        return any(self._fingerprint(parent / name) == fingerprint for parent in (own, self._beside.parent / own))

    def _fingerprint(self, folder: Path) -> str | None:
        if folder not in self._known:
            try:
                self._known[folder] = open_prepared(folder).fingerprint
            except (AdasparseError, OSError):
                self._known[folder] = None
        return self._known[folder]


def _run_row(place: _Place, prepared: _Fingerprints) -> dict[str, Any]:
    state = state_of(place.folder)
    report: Mapping[str, Any] = {}
    if state == "done":
        try:
            report = read_report(place.folder)
        except IntegrityError:
            state = "damaged"
    data = report.get("data", {})
    if "fingerprint" in data and not prepared.are_there(place.folder, str(data.get("name")), data["fingerprint"]):
        state = "stale"
    test = report.get("metrics", {}).get("test", {})
    return {
        "time (UTC)": place.trained,
        "data": place.data,
        "model": place.model,
        "run": place.name,
        "state": state,
        "study": ", ".join(place.studies),
        "test rows": test.get("rows"),
        "test positives": test.get("positives"),
        "AUC": test.get("auc"),
        "GAUC by domain": test.get("gauc_domain"),
        "log loss": test.get("log_loss"),
        # the model's name includes the mode
        "settings": shlex.join(one for one in _settings(place.folder, report) if not one.startswith("model.mode=")),
    }


def _settings(folder: Path, report: Mapping[str, Any]) -> Sequence[str]:
    """The settings that differ from the packaged ones. A report is read ten times as fast as config.yaml."""
    if "settings" in report:
        try:
            return settings_words(report["settings"])
        except UsageError:
            return ()
    return settings_of(folder) or ()


def _studies_by_run(studies: Path) -> dict[Path, list[str]]:
    found: dict[Path, list[str]] = {}
    for arm in study_arms(studies):
        for run in arm.runs.values():
            names = found.setdefault(run, [])
            if arm.study not in names:
                names.append(arm.study)
    return found


def _only(places: Sequence[_Place], what: str, name: str, names_of: Callable[[_Place], Sequence[str]]) -> list[_Place]:
    found = [place for place in places if name in names_of(place)]
    if not found:
        known = list(dict.fromkeys(one for place in places for one in names_of(place)))
        hint = f"known names include {nearest_names(name, known)}" if known else "adasparse runs ls lists all runs"
        raise UsageError(f"no run with the {what} {name!r}", hint=hint)
    return found


def _ordered(rows: list[dict[str, Any]], order: RunOrder) -> list[dict[str, Any]]:
    """Sorted rows; the input is sorted by time."""
    if order is RunOrder.time:
        return rows
    if order in _METRICS:
        name, sign = _METRICS[order]
        known = [row for row in rows if row[name] is not None]
        return sorted(known, key=lambda row: sign * row[name]) + [row for row in rows if row[name] is None]
    return sorted(rows, key=lambda row: str(row[order.value]))
