"""Compares runs: the settings in which they differ, and their metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adasparse_cli.config.spelling import spelled
from adasparse_cli.errors import UsageError
from adasparse_cli.runs.chosen import state_of
from adasparse_cli.runs.saved_run import read_config, read_fingerprint, read_report
from adasparse_cli.typed import flat

METRICS = ("auc", "gauc_domain", "gauc_domain_unweighted", "gauc_user", "log_loss", "calibration")
# The location of files does not change what a run computes.
_NOT_COMPARED = ("paths.", "raw")
_FINGERPRINT = "data fingerprint"


@dataclass(frozen=True, kw_only=True)
class RunDiff:
    """The differences between runs.

    Args:
        names: of the runs, in the order given; the shortest unique path from the folder of runs.
        settings: one row per setting that differs, with a column per run. metrics: one row per metric and split; None if
            a run does not have the metric. counts: rows and positives of each run's split.
        same_data: whether all were trained on the same prepared data.
    """

    names: tuple[str, ...]
    settings: list[dict[str, Any]]
    metrics: list[dict[str, Any]]
    counts: Mapping[str, Mapping[str, Mapping[str, Any]]]
    same_data: bool


def diff_runs(folders: Sequence[Path]) -> RunDiff:
    """Compare two or more runs. Unfinished runs only have settings.

    Raises:
        UsageError: fewer than two runs, or a run named twice.
        IntegrityError: a run is damaged.
    """
    if len({folder.resolve() for folder in folders}) < max(len(folders), 2):
        raise UsageError(
            "a comparison needs at least two runs, each named once", hint="adasparse runs ls lists the runs"
        )
    names = _short_names(folders)
    settings = [flat(read_config(folder)) for folder in folders]
    fingerprints = [read_fingerprint(folder) for folder in folders]
    rows = [_row("setting", key, names, [one.get(key, "–") for one in settings]) for key in _keys(settings)]
    if len(set(fingerprints)) > 1:
        rows.append(_row("setting", _FINGERPRINT, names, [one[:12] for one in fingerprints]))
    found = [read_report(folder)["metrics"] if state_of(folder) == "done" else {} for folder in folders]
    splits = list(dict.fromkeys(split for metrics in found for split in metrics))
    return RunDiff(
        names=names,
        settings=rows,
        metrics=[
            _row("metric", f"{split} {metric}", names, [one.get(split, {}).get(metric) for one in found])
            for split in splits
            for metric in METRICS
            if any(one.get(split, {}).get(metric) is not None for one in found)
        ],
        counts=dict(zip(names, found, strict=True)),
        same_data=len(set(fingerprints)) == 1,
    )


def _keys(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys whose values differ, in the order of the first run that has them."""
    every = dict.fromkeys(key for one in settings for key in one)
    return [
        key
        for key in every
        if not key.startswith(_NOT_COMPARED) and any(one.get(key, ...) != settings[0].get(key, ...) for one in settings)
    ]


def _row(kind: str, name: str, names: Sequence[str], values: Sequence[Any]) -> dict[str, Any]:
    shown = values if kind == "metric" else [value if value == "–" else spelled(value) for value in values]
    return {kind: name, **dict(zip(names, shown, strict=True))}


def _short_names(folders: Sequence[Path]) -> tuple[str, ...]:
    for parts in (1, 2, 3):
        names = tuple(str(Path(*folder.resolve().parts[-parts:])) for folder in folders)
        if len(set(names)) == len(names):
            break
    return names
