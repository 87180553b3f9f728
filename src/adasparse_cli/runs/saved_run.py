"""A run's folder: `runs/<data>/<model>[-<mode>]/<UTC stamp>-s<seed>/`, written once and never overwritten.

config.yaml       the resolved settings           report.json          stands alone: what was done and found
environment.json  versions, device, command line  domains.csv          per-domain rows, metrics, sparsity
metrics.jsonl     one line per log step           predictions.parquet  scores of the test split
checkpoints/      last and best                   encoder/             what turns new rows into ids
DONE or FAILED    last

DONE holds the checksum of every other file, and each is checked before it is read. Until the run is finished,
environment.json holds that of config.yaml, and checkpoints their own. Runs of earlier versions have an empty DONE.
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
# Reports of version 1 are the same; their runs have no checksums.
REPORT_VERSION, UNSEALED_VERSION = 2, 1
ENVIRONMENT_VERSION, DONE_VERSION = 2, 1
# Names below a run's folder that DONE does not cover.
NOT_SEALED = (DONE, FAILED, "findings", "report.html")
# The key of config.yaml with the sha256 of the module of a model that is not packaged.
MODEL_SOURCE = "model_source"
# How the name of a control arm ends.
PLACEBO = "-placebo"


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a run failed.

    Args:
        fails_again: whether the same settings on the same data lead to the same failure, as a loss that is not finite does.
            Any other failure (a full disk, memory, a fault that has been fixed) may be gone, so the run can be resumed.
        damaged: whether its own files are damaged: it cannot be resumed, and the same settings are trained anew.
    """

    message: str
    fails_again: bool
    damaged: bool = False


def failure_of(folder: Path) -> Failure | None:
    """Why a run failed; None for a run that has not."""
    path = folder / FAILED
    if not path.exists():
        return None
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        found = json.loads(text)
        return Failure(
            message=str(found["error"]),
            fails_again=bool(found["fails_again"]),
            damaged=bool(found.get("damaged", False)),
        )
    except (ValueError, TypeError, KeyError):  # of an earlier version, which kept the message alone
        return Failure(message=text.strip(), fails_again="not finite" in text)


def own_files(folder: Path) -> Iterator[Path]:
    """What a run's DONE covers: all that it wrote, but tensors, whose checksums are in checkpoint.json.

    Hidden files are locks and caches. Findings and pages are added later, and findings have checksums of their own.
    """
    for path in folder.rglob("*"):
        inside = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in inside.parts)
        if path.is_file() and not hidden and inside.parts[0] not in NOT_SEALED and path.suffix != ".safetensors":
            yield path


def sealed_run(folder: Path) -> SealedFolder | None:
    """A finished run's files with their checksums; None for a run that is not finished, or of an earlier version.

    Raises:
        IntegrityError: DONE is damaged.
    """
    path = folder / DONE
    if not path.exists() or (not path.read_bytes().strip() and _report_version(folder) == UNSEALED_VERSION):
        return None
    try:
        found = read_sealed(path, "done_version", unsealed=object())
    except IntegrityError as error:
        raise IntegrityError(error.message, hint=anew(folder)) from None
    require_types(found, json_types.Done, path, hint=anew(folder))
    return SealedFolder(
        folder=folder, files=found["files"], changed="was changed after the run finished", hint=anew(folder)
    )


def run_file(folder: Path, name: str) -> Path:
    """The path of a run's file after its bytes are checked.

    Raises:
        IntegrityError: it is missing, or was changed after the run finished.
    """
    sealed = sealed_run(folder)
    if sealed is not None:
        return sealed.path(name)
    path = folder / name
    if not path.exists():
        raise IntegrityError(f"{path} is missing", hint=anew(folder))
    return path


def has_file(folder: Path, name: str) -> bool:
    """Whether a run has a file of its own of this name."""
    sealed = sealed_run(folder)
    return (folder / name).exists() if sealed is None else name in sealed.files


def read_environment(folder: Path) -> dict[str, Any]:
    """What each sitting of a run stood on, see `write_environment`.

    Raises:
        IntegrityError: environment.json is missing or damaged.
    """
    try:
        found = read_sealed(run_file(folder, ENVIRONMENT), "environment_version", unsealed=None)
    except IntegrityError as error:
        raise IntegrityError(error.message, hint=anew(folder)) from None
    require_types(found, json_types.Environment, folder / ENVIRONMENT, hint=anew(folder))
    return found


def _report_version(folder: Path) -> Any:
    try:
        found = read_json(folder / REPORT)
    except IntegrityError as error:
        raise IntegrityError(error.message, hint=anew(folder)) from None
    return found.get("report_version") if isinstance(found, dict) else None


def read_config(folder: Path) -> dict[str, Any]:
    """The resolved settings of a run.

    Raises:
        IntegrityError: the file is missing, was changed, or holds no settings.
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
        raise IntegrityError(f"{folder / ENVIRONMENT} is damaged: it names no data", hint=anew(folder)) from None


def read_report(folder: Path) -> dict[str, Any]:
    """What a run found.

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
            f"{path} is of report format {version_of}, this version reads {REPORT_VERSION}", hint=anew(folder)
        )
    found: dict[str, Any] = read_json(path)
    require_types(found, json_types.Report, path, hint=anew(folder))
    return {**found, "settings": settings_as_today(found["settings"])} if "settings" in found else found


def _checked_config(folder: Path) -> Path:
    """config.yaml, checked against DONE, or while the run is not finished against environment.json."""
    path = run_file(folder, CONFIG)
    if not (folder / DONE).exists() and (folder / ENVIRONMENT).exists():
        expected = read_environment(folder).get("config_sha256")
        if expected is not None and sha256_of(path) != expected:
            raise IntegrityError(f"{path} was changed after the run started: its checksum differs", hint=anew(folder))
    return path


def anew(folder: Path) -> str:
    """What to do about a damaged run."""
    return (
        f"restore it from a copy; or adasparse runs rm {folder.name} removes the run, "
        "and the command that made it trains it anew"
    )
