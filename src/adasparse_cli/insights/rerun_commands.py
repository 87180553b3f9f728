"""How the runs of a page are made again: the words to type, and what they were made with."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adasparse_cli.errors import AdasparseError, IntegrityError
from adasparse_cli.findings.finding import Finding, Table
from adasparse_cli.runs.prepare import existing, words_to_prepare
from adasparse_cli.runs.saved_run import CONFIG, anew, read_config, read_environment
from adasparse_cli.schema import Manifest
from adasparse_cli.studies.subject import Subject


def reproduction(source: Subject) -> Finding:
    """Versions, machine, and the commands that make each run again."""
    rows = []
    for arm in source.comparison.arms:
        for seed, run in arm.folders.items():
            path = run.resolve() / CONFIG
            # the files are named where the data are prepared; a path that was relative then leads nowhere elsewhere
            prepared = ["raw=[]"] if _config_of(run)["raw"] else []
            command = shlex.join(["adasparse", "train", "--config", str(path), *prepared])
            rows.append({"arm": arm.name, "seed": seed, "run": str(run), "command": command})
    first = next(run for arm in source.comparison.arms for run in arm.folders.values())
    sitting = read_environment(first)["sittings"][-1]
    versions = ", ".join(f"{name} {number}" for name, number in sitting["versions"].items())
    host = sitting["host"]
    answers = [
        *_preparing(first, source.comparison.data["fingerprint"]),
        "Train a run again from its own settings with the command in the table, in the same folder: on the same machine with the same number of threads it ends with the same bytes.",
        f"Trained with {versions}, python {host['python']}, on {host['system']} with {host['cores']} cores, {sitting['threads']} threads each, {sitting['device']}.",
    ]
    if sitting.get("git_commit"):
        changed = ", with uncommitted changes" if sitting.get("git_changed") else ""
        answers.append(f"Code: commit `{sitting['git_commit']}`{changed}.")
    return Finding(
        name="reproduction",
        title="How to reproduce it",
        question="",
        answers=answers,
        tables=[Table(name="runs", title="Runs", rows=rows, long=True)],
    )


def _preparing(run: Path, fingerprint: str) -> list[str]:
    """How to prepare the data that a run was trained on, from its settings and where the raw files lay."""
    config = _config_of(run)
    values, root = config["data"], str(config["paths"]["data"])
    manifest = _manifest_of(run, config, fingerprint)
    named = [config["raw"]] if isinstance(config["raw"], str) else list(config["raw"])
    # a relative path is that of a file which the recipe wrote itself
    sources = [one for one in manifest.sources if Path(one.path).is_absolute()] if manifest else []
    raw = [one.path for one in sources] or named
    # only a recipe that writes its own files is asked whether to keep them
    unknown = manifest is None and not raw and "keep_raw" not in values
    words = words_to_prepare(values, ["FILE"] if unknown else raw, root)
    if words is None:
        how = f"Their settings cannot be typed as words; they stand under `data` in `{run.resolve() / CONFIG}`."
        answers = [f"Prepare the data: {how} Their fingerprint must be `{fingerprint[:12]}`."]
    else:
        answers = [f"Prepare the data: `adasparse prep {words}`; their fingerprint must be `{fingerprint[:12]}`."]
    if unknown:
        answers.append("`FILE` stands for the raw files: the prepared data, which know where they lay, are gone.")
    if sources:
        each = ", ".join(f"`{one.name}` (sha256 `{one.sha256[:12]}`)" for one in sources)
        answers.append(f"The raw files: {each}; where they lie elsewhere now, change `raw`.")
    return answers


def _config_of(run: Path) -> dict[str, Any]:
    """A run's settings.

    Raises:
        IntegrityError: they are missing or damaged.
    """
    config = read_config(run)
    try:
        _ = config["raw"], config["paths"]["data"], config["data"]["name"], config["data"]["recipe"]
    except (KeyError, TypeError) as error:
        raise IntegrityError(f"{run / CONFIG} is damaged: {error!r}", hint=anew(run)) from None
    return config


def _manifest_of(run: Path, config: Mapping[str, Any], fingerprint: str) -> Manifest | None:
    """The manifest of the data that a run was trained on, if they still stand where they stood."""
    folder = Path(config["paths"]["data"]) / str(config["data"]["name"])
    # relative paths are those of the folder that `runs/DATA/MODEL/RUN` lies in
    above = len(Path(str(config["paths"].get("runs", "runs"))).parts) + 2
    for home in (Path(), *run.resolve().parents[above : above + 1]):
        with contextlib.suppress(AdasparseError, OSError):
            manifest = existing(home / folder)
            if manifest is not None and manifest.fingerprint == fingerprint:
                return manifest
    return None
