"""A run's folder: `runs/<data>/<model>[-<mode>]/<UTC stamp>-s<seed>/`, written once and never overwritten.

config.yaml       the resolved settings           report.json          settings, metrics, cost and timings
environment.json  versions, device, command line  domains.csv          rows, metrics and sparsity per domain
metrics.jsonl     one line per log step           predictions.parquet  scores of the test split
checkpoints/      last and best                   encoder/             vocabularies that encode new rows
DONE or FAILED    written last

DONE has the checksum of every other file, and each file is checked before it is read. Until the run is finished,
environment.json has the checksum of config.yaml, and checkpoints have checksums of their tensors. Runs of earlier versions have an empty DONE.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adasparse_cli.errors import IntegrityError
from adasparse_cli.files import SealedFolder, read_json, read_sealed, read_small_text, sha256_of
from adasparse_cli.runs import json_types
from adasparse_cli.runs.earlier_runs import settings_as_today
from adasparse_cli.typed import from_yaml, require_types

DONE, FAILED, CONFIG, REPORT, PREDICTIONS = "DONE", "FAILED", "config.yaml", "report.json", "predictions.parquet"
ENVIRONMENT, ENCODER, METRICS, DOMAINS = "environment.json", "encoder", "metrics.jsonl", "domains.csv"
# Version 1 has the same reports, but its runs have no checksums.
REPORT_VERSION, UNSEALED_VERSION = 2, 1
ENVIRONMENT_VERSION, DONE_VERSION = 2, 1
# Names below a run's folder that DONE does not cover.
NOT_SEALED = (DONE, FAILED, "findings", "report.html")
# The key of config.yaml with the sha256 of the module of a model that is not packaged.
MODEL_SOURCE = "model_source"
# Suffix of the label of a control arm.
PLACEBO = "-placebo"


def run_folders(root: Path) -> list[Path]:
    """All run folders below `paths.runs`. A hidden folder is not a run: a process was creating it, or was killed then."""
    return [path.parent for path in root.glob(f"[!.]*/[!.]*/[!.]*/{CONFIG}")]


def run_folders_of(label: Path) -> list[Path]:
    """The run folders of one label, which lie directly below it."""
    return [path.parent for path in label.glob(f"[!.]*-s*/{CONFIG}")]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a run failed.

    Args:
        fails_again: whether the same settings on the same data fail again, as with a loss that is not finite. After any
            other failure (a full disk, memory, a bug that was fixed) the run can be resumed.
        damaged: whether files of the run are damaged. It cannot be resumed, and the same settings start a new run.
    """

    message: str
    fails_again: bool
    damaged: bool = False


def failure_of(folder: Path) -> Failure | None:
    """Why a run failed; None if it has not failed."""
    path = folder / FAILED
    if not path.exists():
        return None
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        content = json.loads(text)
        return Failure(
            message=str(content["error"]),
            fails_again=bool(content["fails_again"]),
            damaged=bool(content.get("damaged", False)),
        )
    except (ValueError, TypeError, KeyError):  # earlier versions wrote only the message
        return Failure(message=text.strip(), fails_again="not finite" in text)


def own_files(folder: Path) -> Iterator[Path]:
    """The files that DONE covers: all files of a run except tensors, whose checksums are in checkpoint.json.

    Hidden files are locks and caches. Findings and pages are added later, and findings have separate checksums.
    """
    for path in folder.rglob("*"):
        inside = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in inside.parts)
        if path.is_file() and not hidden and inside.parts[0] not in NOT_SEALED and path.suffix != ".safetensors":
            yield path


def sealed_run(folder: Path) -> SealedFolder | None:
    """The files of a finished run with their checksums; None for an unfinished run or a run of an earlier version.

    Raises:
        IntegrityError: DONE is damaged.
    """
    path = folder / DONE
    if not path.exists() or (not path.read_bytes().strip() and _report_version(folder) == UNSEALED_VERSION):
        return None
    try:
        done = read_sealed(path, "done_version", unsealed=object())
    except IntegrityError as error:
        raise IntegrityError(error.message, hint=anew(folder)) from None
    require_types(done, json_types.Done, path, hint=anew(folder))
    return SealedFolder(
        folder=folder, files=done["files"], changed="was changed after the run finished", hint=anew(folder)
    )


def run_file(folder: Path, name: str) -> Path:
    """The path of a run's file, after its checksum was checked.

    Raises:
        IntegrityError: the file is missing, or was changed after the run finished.
    """
    sealed = sealed_run(folder)
    if sealed is not None:
        return sealed.path(name)
    path = folder / name
    if not path.exists():
        raise IntegrityError(f"{path} is missing", hint=anew(folder))
    return path


def has_file(folder: Path, name: str) -> bool:
    """Whether a run wrote a file of this name."""
    sealed = sealed_run(folder)
    return (folder / name).exists() if sealed is None else name in sealed.files


def read_environment(folder: Path) -> dict[str, Any]:
    """The environment of each sitting of a run; `run_folder.add_sitting` writes it.

    Raises:
        IntegrityError: environment.json is missing or damaged.
    """
    try:
        environment = read_sealed(run_file(folder, ENVIRONMENT), "environment_version", unsealed=None)
    except IntegrityError as error:
        raise IntegrityError(error.message, hint=anew(folder)) from None
    require_types(environment, json_types.Environment, folder / ENVIRONMENT, hint=anew(folder))
    return environment


def _report_version(folder: Path) -> Any:
    try:
        report = read_json(folder / REPORT)
    except IntegrityError as error:
        raise IntegrityError(error.message, hint=anew(folder)) from None
    return report.get("report_version") if isinstance(report, dict) else None


def read_config(folder: Path) -> dict[str, Any]:
    """The resolved settings of a run.

    Raises:
        IntegrityError: the file is missing, was changed, or has no settings.
    """
    return settings_as_today(saved_config(folder))


def saved_config(folder: Path) -> dict[str, Any]:
    path = _checked_config(folder)
    try:
        return from_yaml(read_small_text(path))
    except (OSError, ValueError, IntegrityError):
        raise IntegrityError(f"{path} is missing or damaged", hint=anew(folder)) from None


def read_fingerprint(folder: Path) -> str:
    """The fingerprint of the data that a run was trained on.

    Raises:
        IntegrityError: environment.json is missing or damaged.
    """
    try:
        return str(read_environment(folder)["data_fingerprint"])
    except (KeyError, TypeError):
        raise IntegrityError(f"{folder / ENVIRONMENT} is damaged: no data fingerprint", hint=anew(folder)) from None


def read_report(folder: Path) -> dict[str, Any]:
    """The report.json of a run.

    Raises:
        IntegrityError: the run is not finished, or report.json is missing, was changed, or is of another version.
    """
    sealed = sealed_run(folder)
    path = folder / REPORT if sealed is None else sealed.path(REPORT)
    version_of = _report_version(folder)
    if version_of is None:
        raise IntegrityError(f"{path} is damaged: it has no report_version", hint=anew(folder))
    if sealed is None and version_of == REPORT_VERSION:
        raise IntegrityError(f"{folder} is not finished", hint="adasparse train --resume continues it")
    if version_of != (UNSEALED_VERSION if sealed is None else REPORT_VERSION):
        raise IntegrityError(
            f"{path} has report format {version_of}; this version reads format {REPORT_VERSION}", hint=anew(folder)
        )
    report: dict[str, Any] = read_json(path)
    require_types(report, json_types.Report, path, hint=anew(folder))
    return {**report, "settings": settings_as_today(report["settings"])} if "settings" in report else report


def _checked_config(folder: Path) -> Path:
    """config.yaml, checked against DONE, or against environment.json if the run is unfinished."""
    path = run_file(folder, CONFIG)
    if not (folder / DONE).exists() and (folder / ENVIRONMENT).exists():
        expected = read_environment(folder).get("config_sha256")
        if expected is not None and sha256_of(path) != expected:
            raise IntegrityError(f"{path} was changed after the run started: its checksum differs", hint=anew(folder))
    return path


def anew(folder: Path) -> str:
    """The hint for a damaged run."""
    return f"restore it from a copy, or remove it with adasparse runs rm {folder.name} and train it again"
