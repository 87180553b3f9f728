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

import contextlib
import itertools
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

from adasparse_cli.errors import IntegrityError
from adasparse_cli.files import (
    SealedFolder,
    checksums,
    read_json,
    read_sealed,
    read_small_text,
    sha256_of,
    sync_folder,
    write_json,
    write_sealed,
    write_text,
)
from adasparse_cli.runs import json_types
from adasparse_cli.runs.earlier_runs import settings_as_today, trained_otherwise
from adasparse_cli.schema import Manifest
from adasparse_cli.typed import from_yaml, require_types, to_yaml, without_passwords

DONE, FAILED, CONFIG, REPORT, PREDICTIONS = "DONE", "FAILED", "config.yaml", "report.json", "predictions.parquet"
ENVIRONMENT, ENCODER, METRICS, DOMAINS = "environment.json", "encoder", "metrics.jsonl", "domains.csv"
# Reports of version 1 are the same; their runs have no checksums.
REPORT_VERSION, UNSEALED_VERSION = 2, 1
ENVIRONMENT_VERSION, DONE_VERSION = 2, 1
# Names below a run's folder that DONE does not cover.
NOT_SEALED = (DONE, FAILED, "findings", "report.html")
# How the name of a control arm ends.
PLACEBO = "-placebo"
# Where things lie and who is told of them does not change what a run computes.
_NOT_OF_THE_RUN = ("paths", "raw", "tracking")


def new_run(parent: Path, config: Mapping[str, Any], *, seed: int, sitting: Sitting) -> Path:
    """Create the folder of a run that starts now; two that start in the same second get different ones.

    The folder appears with its settings and the fingerprint of its data, so nobody can take it for another run. Only who
    holds the folder of all runs may call this.
    """
    for left in parent.glob(".*.starting"):  # of a process that was killed here
        shutil.rmtree(left)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    names = (f"{stamp}-s{seed}" + (f"-{attempt}" if attempt else "") for attempt in itertools.count())
    folder = next(path for path in map(parent.joinpath, names) if not path.exists())
    starting = parent / f".{folder.name}.starting"
    starting.mkdir(parents=True)
    write_text(starting / CONFIG, without_passwords(to_yaml(config)))
    add_sitting(starting, sitting)
    starting.rename(folder)
    sync_folder(parent)
    return folder


def latest_alike(parent: Path, config: Mapping[str, Any], fingerprint: str) -> Path | None:
    """The newest run in `parent` of the same settings on the same data.

    A run that failed counts only where no other is found, and if it can be resumed or would fail again: see `Failure`.
    """
    failed = None
    # control arms of earlier versions do not carry it in their name
    parents = {parent, parent.with_name(parent.name.removesuffix(PLACEBO))}
    for folder in sorted((run for one in parents for run in one.glob("*-s*")), key=_stamp, reverse=True):
        if not (folder / CONFIG).exists():
            continue
        failure = failure_of(folder)
        if failure is not None and (failed is not None or not _counts(folder, failure)):
            continue
        try:
            if not (folder / ENVIRONMENT).exists() or read_fingerprint(folder) != fingerprint:
                continue
            saved = _saved_config(folder)
            if trained_otherwise(saved) or not same_run(settings_as_today(saved), config):
                continue
            if failure is None:
                return folder
            failed = folder
        except IntegrityError:  # nobody can say what a damaged run is of, so it is not taken for this one
            continue
    return failed


def _counts(folder: Path, failure: Failure) -> bool:
    return failure.fails_again or (not failure.damaged and any((folder / "checkpoints/last").glob("*")))


def _stamp(folder: Path) -> str:
    return folder.name


def runs_on(root: Path, manifest: Manifest) -> list[Path]:
    """The runs below `root` that were trained on these data: finished ones, and those that have a checkpoint to resume."""
    found = []
    for folder in sorted(root.glob(f"*/*/*/{CONFIG}")):
        run = folder.parent
        if (run / DONE).exists() or any(run.glob("checkpoints/*")):
            with contextlib.suppress(IntegrityError):  # a damaged run depends on nothing
                if read_fingerprint(run) == manifest.fingerprint:
                    found.append(run)
    return found


@dataclass(frozen=True, kw_only=True)
class Sitting:
    """What a sitting of a run depends on."""

    device: str
    threads: int
    fingerprint: str


def add_sitting(folder: Path, own: Sitting) -> list[str]:
    """Record what this sitting of the run depends on.

    Returns:
        What differs from the sitting before: then the end need not be the same to the bit.
    """
    path = folder / ENVIRONMENT
    sitting = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": without_passwords(shlex.join(["adasparse", *sys.argv[1:]])),
        "device": own.device,
        "threads": own.threads,
        "host": {"system": platform.platform(), "python": platform.python_version(), "cores": os.cpu_count()},
        "versions": {name: version(name) for name in ("adasparse-cli", "torch", "numpy", "polars", "safetensors")},
        **_source_commit(),
    }
    known = read_environment(folder) if path.exists() else {}
    before = known.get("sittings", [])
    write_sealed(
        path,
        {
            "environment_version": ENVIRONMENT_VERSION,
            "config_sha256": known.get("config_sha256") or sha256_of(folder / CONFIG),
            "data_fingerprint": own.fingerprint,
            "sittings": [*before, sitting],
        },
    )
    if not before:
        return []
    return [
        f"{name}: {before[-1][name]} before, {sitting[name]} now"
        for name in ("device", "threads", "versions")
        if before[-1][name] != sitting[name]
    ]


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


def finish(folder: Path) -> None:
    """Mark a run as done, with the checksums of its files."""
    write_sealed(folder / DONE, {"done_version": DONE_VERSION, "files": checksums(folder, list(_own_files(folder)))})


def fail(folder: Path, failure: Failure) -> None:
    """Mark a run as failed."""
    found = {"error": failure.message, "fails_again": failure.fails_again, "damaged": failure.damaged}
    write_json(folder / FAILED, found)


def _own_files(folder: Path) -> Iterator[Path]:
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
    return settings_as_today(_saved_config(folder))


def _saved_config(folder: Path) -> dict[str, Any]:
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


def read_predictions(folder: Path) -> pl.DataFrame:
    """The scores of a run's test split: source, line, label, domain, logit, probability, and the user where there is one.

    Raises:
        IntegrityError: the file is missing or damaged.
    """
    path = run_file(folder, PREDICTIONS)
    try:
        return pl.read_parquet(path, glob=False)
    except (OSError, pl.exceptions.PolarsError):
        raise IntegrityError(f"{path} is damaged", hint=anew(folder)) from None


def anew(folder: Path) -> str:
    """What to do about a damaged run."""
    return (
        f"restore it from a copy; or adasparse runs rm {folder.name} removes the run, "
        "and the command that made it trains it anew"
    )


def same_run(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two configurations compute the same."""
    return _comparable(one) == _comparable(other)


def _comparable(config: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in config.items() if key not in _NOT_OF_THE_RUN}
    loop = {key: value for key, value in dict(kept.get("loop", {})).items() if key != "checkpoint_seconds"}
    return {**kept, "loop": loop}


def _source_commit() -> dict[str, Any]:
    """The commit of the repository that this very code is a tracked part of; nothing for an installed package, which may
    be anywhere, such as in a virtual environment inside another project's repository.
    """
    here = Path(__file__)

    def git(*words: str) -> str | None:
        try:
            found = subprocess.run(
                ["git", *words], cwd=here.parent, capture_output=True, text=True, timeout=5, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return found.stdout.strip() if found.returncode == 0 else None

    if git("ls-files", "--error-unmatch", here.name) is None:
        return {"git_commit": None, "git_changed": None}
    changes = git("status", "--porcelain", "--untracked-files=no")
    return {"git_commit": git("rev-parse", "HEAD"), "git_changed": None if changes is None else bool(changes)}
