"""Commands that reproduce the runs of a page, and the versions that trained them."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adasparse_cli.errors import AdasparseError, IntegrityError
from adasparse_cli.findings.finding import Finding, Table
from adasparse_cli.prepared.earlier_data import settings_as_today
from adasparse_cli.runs.prepare import existing, words_to_prepare
from adasparse_cli.runs.saved_run import CONFIG, anew, read_config, read_environment
from adasparse_cli.schema import Manifest
from adasparse_cli.studies.comparison import Comparison
from adasparse_cli.studies.subject import Subject


def reproduction(source: Subject) -> Finding:
    """The commands that prepare the data and train each run again."""
    rows = []
    for arm in source.comparison.arms:
        for seed, run in arm.folders.items():
            path = typed_path(run / CONFIG)
            # the command that prepares the data names the raw files
            prepared = ["raw=[]"] if _config_of(run)["raw"] else []
            command = shlex.join(["adasparse", "train", "--config", path, *prepared])
            rows.append({"arm": arm.name, "seed": seed, "command": command})
    first = _first_run(source.comparison)
    place = Path(typed_path(first))
    folder = "" if place.is_absolute() else f" Type the commands in the folder that contains `{place.parts[0]}`."
    answers = [
        *_preparing(first, source.comparison.data["fingerprint"]),
        f"Train a run again with its command in the table.{folder} On the same machine with the same number of threads, the result "
        "is byte-identical.",
    ]
    return Finding(
        name="reproduction",
        title="Reproduce",
        question="",
        answers=answers,
        tables=[Table(name="runs", title=f"Commands of {len(rows)} runs", rows=rows, long=len(rows) > 1)],
    )


def trained_with(comparison: Comparison) -> dict[str, str]:
    """Versions, machine and commit of the first run."""
    environment = read_environment(_first_run(comparison))["sittings"][-1]
    host = environment["host"]
    commit = environment.get("git_commit")
    changed = ", with uncommitted changes" if environment.get("git_changed") else ""
    return {
        "versions": ", ".join(
            [*(f"{name} {number}" for name, number in environment["versions"].items()), f"python {host['python']}"]
        ),
        "machine": f"{host['system']}, {host['cores']} cores, {environment['threads']} threads per run, {environment['device']}",
        **({"commit": f"{commit[:12]}{changed}"} if commit else {}),
    }


def typed_path(path: Path) -> str:
    """A path as a user would type it: relative if it is below the current folder."""
    here, whole = Path.cwd(), Path(os.path.abspath(path))
    return str(whole.relative_to(here)) if whole.is_relative_to(here) else str(whole)


def _first_run(comparison: Comparison) -> Path:
    return next(run for arm in comparison.arms for run in arm.folders.values())


def _preparing(run: Path, fingerprint: str) -> list[str]:
    """How to prepare the data of a run, from its settings and the paths of its raw files."""
    config = _config_of(run)
    values, root = settings_as_today(config["data"]), str(config["paths"]["data"])
    manifest = _manifest_of(run, config, fingerprint)
    named = [config["raw"]] if isinstance(config["raw"], str) else list(config["raw"])
    # a relative path is a file that the recipe wrote itself
    sources = [one for one in manifest.sources if Path(one.path).is_absolute()] if manifest else []
    raw = [typed_path(Path(one.path)) for one in sources] or named
    # only recipes that write raw files have this setting
    unknown = manifest is None and not raw and "keep_raw" not in values
    words = words_to_prepare(values, ["FILE"] if unknown else raw, root)
    if words is None:
        how = (
            f"the settings cannot be written as overrides; they are in section `data` of `{typed_path(run / CONFIG)}`."
        )
        answers = [f"Prepare the data: {how} The fingerprint must be `{fingerprint[:12]}`."]
    else:
        answers = [f"Prepare the data: `adasparse prep {words}`. The fingerprint must be `{fingerprint[:12]}`."]
    if unknown:
        answers.append(
            "Replace `FILE` by the raw files. Their names are not known, because the prepared data no longer exist."
        )
    if sources:
        each = ", ".join(f"`{one.name}` (sha256 `{one.sha256[:12]}`)" for one in sources)
        answers.append(f"Raw files: {each}. If they have moved, change `raw`.")
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
    """The manifest of the data that a run was trained on, if the data are still in their folder."""
    folder = Path(config["paths"]["data"]) / str(config["data"]["name"])
    # relative paths start at the folder that contains `runs/DATA/MODEL/RUN`
    above = len(Path(str(config["paths"].get("runs", "runs"))).parts) + 2
    for home in (Path(), *run.resolve().parents[above : above + 1]):
        with contextlib.suppress(AdasparseError, OSError):
            manifest = existing(home / folder)
            if manifest is not None and manifest.fingerprint == fingerprint:
                return manifest
    return None
