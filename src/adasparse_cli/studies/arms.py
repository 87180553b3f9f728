"""Arms of a comparison: runs that differ in their seed alone, and the settings in which arms differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adasparse_cli.errors import DataError, UsageError
from adasparse_cli.runs.saved_run import PLACEBO, read_report
from adasparse_cli.typed import flat

NAMED = ("model", "loop")  # sections whose keys depend on their name


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One thing that is compared: its name, and a finished run for each seed (None where it has none).

    In a study of several worlds, runs are named WORLD/SEED instead of by their seed.
    """

    name: str
    runs: Mapping[int, Path | None] | Mapping[str, Path | None]

    @property
    def whole(self) -> bool:
        """Whether every seed has its run."""
        return all(folder is not None for folder in self.runs.values())

    @property
    def folders(self) -> dict[int | str, Path]:
        """The runs that are there."""
        return {seed: folder for seed, folder in self.runs.items() if folder is not None}


def arms_of_runs(folders: Sequence[Path]) -> list[Arm]:
    """Runs that differ in their seed alone make one arm; an arm's name says what sets it apart from the others.

    Raises:
        UsageError: two runs are of the same settings and seed.
        DataError: an arm lacks a seed that another has, or two such runs are of different data.
    """
    grouped: dict[str, tuple[dict[str, Any], dict[int, Path]]] = {}
    for folder in folders:
        report = read_report(folder)
        settings = flat(report["settings"])
        key = repr(sorted(settings.items(), key=str))
        runs = grouped.setdefault(key, (settings, {}))[1]
        twice = runs.setdefault(int(report["seed"]), folder)
        if twice != folder or folders.count(folder) > 1:
            require_same_data({str(twice): [read_report(twice)], str(folder): [report]})
            raise UsageError(
                f"{twice} and {folder} are of the same model, settings and seed", hint="name one of the two"
            )
    names = _names([own for own, _ in grouped.values()])
    seeds = sorted({seed for _, runs in grouped.values() for seed in runs})
    for name, (_, runs) in zip(names, grouped.values(), strict=True):
        missing = [seed for seed in seeds if seed not in runs]
        if missing:
            raise DataError(
                f"{name} has no run with seed {missing[0]}, which another arm has",
                hint="arms are compared on the same seeds: train the missing one, or leave the other out",
            )
    return [
        Arm(name=name, runs={seed: runs[seed] for seed in seeds})
        for name, (_, runs) in zip(names, grouped.values(), strict=True)
    ]


def differing_settings(reports: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """One row per setting that was chosen to differ: its key, and its value in each arm, – where an arm does not have it.

    A setting of a model or loop counts only if arms of the same model or loop differ in it; that one model has settings
    which another lacks follows from the models' names.
    """
    own = {arm: flat(found[0]["settings"]) for arm, found in reports.items() if found}
    keys = list(dict.fromkeys(key for settings in own.values() for key in settings))
    rows = []
    for key in keys:
        section = key.partition(".")[0]
        by_name: dict[Any, set[str]] = {}
        for settings in own.values():
            if key in settings:
                name = settings.get(f"{section}.name") if section in NAMED and key != f"{section}.name" else None
                by_name.setdefault(name, set()).add(repr(settings[key]))
        if any(len(values) > 1 for values in by_name.values()):
            rows.append(
                {
                    "setting": key,
                    **{arm: spelled(settings[key]) if key in settings else "–" for arm, settings in own.items()},
                }
            )
    return rows


def spelled(value: Any) -> str:
    """A setting as it is typed."""
    if isinstance(value, list):
        return "[" + ", ".join(map(str, value)) + "]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _names(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Model and mode, and where that is not enough the settings that differ among those of the same model and mode."""
    labels = []
    for own in settings:
        name, loop = str(own["model.name"]), str(own["loop.name"])
        label = f"{name}-{own['model.mode']}" if "model.mode" in own else name
        label += PLACEBO if own.get("loop.placebo") else ""
        labels.append(label if loop == "standard" else f"{loop} {label}")
    names = []
    for label, own in zip(labels, settings, strict=True):
        alike = [other for other_label, other in zip(labels, settings, strict=True) if other_label == label]
        keys = [key for key in own if len({repr(other.get(key)) for other in alike}) > 1]
        names.append(" ".join([label, *(f"{key}={spelled(own[key])}" for key in keys)]))
    return names


def require_same_data(reports: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    known = [(arm, report["data"]) for arm, found in reports.items() for report in found]
    (first, one), *others = known
    for arm, other in others:
        if other["fingerprint"] == one["fingerprint"]:
            continue
        differs = [key for key in ("name", "label", "domain", "splits") if other.get(key) != one.get(key)]
        key = differs[0] if differs else "fingerprint"
        raise DataError(
            f"{first} and {arm} were trained on different data: {key} is {_short(one.get(key))} and {_short(other.get(key))}",
            hint="compare runs on one prepared data set only; adasparse runs ls shows whose is whose",
        )


def _short(value: Any) -> str:
    if isinstance(value, str) and len(value) == 64:
        return value[:12]
    if isinstance(value, list):
        return " × ".join(map(str, value))
    return str(value)
