"""Arms of a comparison: runs that differ only in their seed, and the settings in which arms differ."""

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
    """An arm: its name, and the finished run of each seed (None if there is none).

    In a study of several worlds, the keys of `runs` are WORLD/SEED instead of seeds.
    """

    name: str
    runs: Mapping[int, Path | None] | Mapping[str, Path | None]

    @property
    def whole(self) -> bool:
        """Whether every seed has a run."""
        return all(folder is not None for folder in self.runs.values())

    @property
    def folders(self) -> dict[int | str, Path]:
        """The existing runs by seed."""
        return {seed: folder for seed, folder in self.runs.items() if folder is not None}


def arms_of_runs(folders: Sequence[Path]) -> list[Arm]:
    """Group runs that differ only in their seed into arms, named by the settings that differ between arms.

    Raises:
        UsageError: two runs have the same settings and seed.
        DataError: an arm lacks a seed that another arm has, or two such runs are of different data.
    """
    grouped: dict[str, tuple[dict[str, Any], dict[int, Path]]] = {}
    for folder in folders:
        report = read_report(folder)
        settings = flat(report["settings"])
        key = repr(sorted(settings.items(), key=str))
        runs = grouped.setdefault(key, (settings, {}))[1]
        other = runs.setdefault(int(report["seed"]), folder)
        if other != folder or folders.count(folder) > 1:
            require_same_data({str(other): [read_report(other)], str(folder): [report]})
            raise UsageError(
                f"{other} and {folder} have the same model, settings and seed", hint="name only one of them"
            )
    names = _names([settings for settings, _ in grouped.values()])
    seeds = sorted({seed for _, runs in grouped.values() for seed in runs})
    for name, (_, runs) in zip(names, grouped.values(), strict=True):
        missing = [seed for seed in seeds if seed not in runs]
        if missing:
            raise DataError(
                f"{name} has no run with seed {missing[0]}, which another arm has",
                hint="arms are compared on the same seeds: train the missing run, or omit the other arm's run",
            )
    return [
        Arm(name=name, runs={seed: runs[seed] for seed in seeds})
        for name, (_, runs) in zip(names, grouped.values(), strict=True)
    ]


def differing_settings(reports: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """One row per setting that was chosen to differ: its key, and its value in each arm; – if an arm lacks the setting.

    A setting of a model or loop counts only if arms with the same model or loop differ in it. Different models always have
    different settings, so those are not listed.
    """
    settings_of = {arm: flat(runs[0]["settings"]) for arm, runs in reports.items() if runs}
    keys = list(dict.fromkeys(key for settings in settings_of.values() for key in settings))
    rows = []
    for key in keys:
        section = key.partition(".")[0]
        by_name: dict[Any, set[str]] = {}
        for settings in settings_of.values():
            if key in settings:
                name = settings.get(f"{section}.name") if section in NAMED and key != f"{section}.name" else None
                by_name.setdefault(name, set()).add(repr(settings[key]))
        if any(len(values) > 1 for values in by_name.values()):
            rows.append(
                {
                    "setting": key,
                    **{
                        arm: spelled(settings[key]) if key in settings else "–" for arm, settings in settings_of.items()
                    },
                }
            )
    return rows


def spelled(value: Any) -> str:
    """The value of a setting as typed on a command line."""
    if isinstance(value, list):
        return "[" + ", ".join(map(str, value)) + "]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _names(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of arms: model and mode, plus the settings that differ among arms of the same model and mode."""
    labels = []
    for arm in settings:
        name, loop = str(arm["model.name"]), str(arm["loop.name"])
        label = f"{name}-{arm['model.mode']}" if "model.mode" in arm else name
        label += PLACEBO if arm.get("loop.placebo") else ""
        labels.append(label if loop == "standard" else f"{loop} {label}")
    names = []
    for label, arm in zip(labels, settings, strict=True):
        same_label = [other for other_label, other in zip(labels, settings, strict=True) if other_label == label]
        keys = [key for key in arm if len({repr(other.get(key)) for other in same_label}) > 1]
        names.append(" ".join([label, *(f"{key}={spelled(arm[key])}" for key in keys)]))
    return names


def require_same_data(reports: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Refuse runs of different data.

    Raises:
        DataError: fingerprints differ.
    """
    data = [(arm, report["data"]) for arm, runs in reports.items() for report in runs]
    (first_arm, first), *others = data
    for arm, other in others:
        if other["fingerprint"] == first["fingerprint"]:
            continue
        differs = [key for key in ("name", "label", "domain", "splits") if other.get(key) != first.get(key)]
        key = differs[0] if differs else "fingerprint"
        raise DataError(
            f"{first_arm} and {arm} were trained on different data: "
            f"{key} is {_short(first.get(key))} and {_short(other.get(key))}",
            hint="compare runs on one prepared data set; adasparse runs ls shows the data of each run",
        )


def _short(value: Any) -> str:
    if isinstance(value, str) and len(value) == 64:
        return value[:12]
    if isinstance(value, list):
        return " × ".join(map(str, value))
    return str(value)
