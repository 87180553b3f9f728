"""Create, resume, fail, finish and find the folder of a run. `saved_run.py` describes its files."""

from __future__ import annotations

import contextlib
import itertools
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from adasparse_cli.errors import IntegrityError
from adasparse_cli.files import (
    checksums,
    sha256_of,
    sync_folder,
    write_json,
    write_sealed,
    write_text,
)
from adasparse_cli.runs.earlier_runs import settings_as_today, trained_otherwise
from adasparse_cli.runs.saved_run import (
    CONFIG,
    DONE,
    DONE_VERSION,
    ENVIRONMENT,
    ENVIRONMENT_VERSION,
    FAILED,
    PLACEBO,
    Failure,
    failure_of,
    own_files,
    read_environment,
    read_fingerprint,
    run_folders,
    run_folders_of,
    saved_config,
)
from adasparse_cli.schema import Manifest
from adasparse_cli.typed import to_yaml, without_passwords

STAMP = "%Y%m%dT%H%M%SZ"  # UTC; the name of a run begins with it
# Sections that do not change what a run computes.
_NOT_OF_THE_RUN = ("paths", "raw", "tracking")


def new_run(parent: Path, config: Mapping[str, Any], *, seed: int, sitting: Sitting) -> Path:
    """Create the folder of a new run. Runs that start in the same second get different names.

    The folder appears at once with its settings and the fingerprint of its data, so it cannot be mistaken for another run.
    The caller must hold the lock of the directory of runs.
    """
    for leftover in parent.glob(".*.starting"):  # of a killed process
        named = parent / leftover.name.removeprefix(".").removesuffix(".starting")
        if not (leftover / "checkpoints").exists():
            shutil.rmtree(leftover)
        elif not named.exists():  # an earlier version trained the run there
            leftover.rename(named)
    stamp = datetime.now(UTC).strftime(STAMP)
    names = (f"{stamp}-s{seed}" + (f"-{attempt}" if attempt else "") for attempt in itertools.count())
    folder = next(path for path in map(parent.joinpath, names) if not path.exists())
    starting = parent / f".{folder.name}.starting"
    starting.mkdir(parents=True)
    write_text(starting / CONFIG, without_passwords(to_yaml(config)))
    add_sitting(starting, sitting)
    starting.rename(folder)
    sync_folder(parent)
    return folder


def latest_alike(
    parent: Path, config: Mapping[str, Any], fingerprint: str, *, begun_since: float | None = None
) -> Path | None:
    """The newest run in `parent` with the same settings on the same data, begun at a time (seconds since 1970) or later.

    A failed run counts only if there is no other, and if it can be resumed or would fail again: see `Failure`.
    """
    failed = None
    first = "" if begun_since is None else datetime.fromtimestamp(begun_since, UTC).strftime(STAMP)
    # the names of control arms of earlier versions lack the suffix
    folders = {parent, parent.with_name(parent.name.removesuffix(PLACEBO))}
    for folder in sorted((run for label in folders for run in run_folders_of(label)), key=_stamp, reverse=True):
        if folder.name < first:
            continue
        failure = failure_of(folder)
        if failure is not None and (failed is not None or not _counts(folder, failure)):
            continue
        try:
            if not (folder / ENVIRONMENT).exists() or read_fingerprint(folder) != fingerprint:
                continue
            saved = saved_config(folder)
            if trained_otherwise(saved) or not same_run(settings_as_today(saved), config):
                continue
            if failure is None:
                return folder
            failed = folder
        except IntegrityError:  # the settings of a damaged run are unknown
            continue
    return failed


def _counts(folder: Path, failure: Failure) -> bool:
    return failure.fails_again or (not failure.damaged and any((folder / "checkpoints/last").glob("*")))


def _stamp(folder: Path) -> str:
    return folder.name


def runs_on(root: Path, manifest: Manifest) -> list[Path]:
    """The runs below `root` that were trained on these data and are finished or can be resumed."""
    runs = []
    for run in sorted(run_folders(root)):
        if (run / DONE).exists() or any(run.glob("checkpoints/*")):
            with contextlib.suppress(IntegrityError):  # a damaged run cannot be used anyway
                if read_fingerprint(run) == manifest.fingerprint:
                    runs.append(run)
    return runs


@dataclass(frozen=True, kw_only=True)
class Sitting:
    """Device, threads and data of a sitting: one process that works on a run."""

    device: str
    threads: int
    fingerprint: str


def add_sitting(folder: Path, current: Sitting) -> list[str]:
    """Record the environment of this sitting in environment.json.

    Returns:
        The differences from the sitting before. With any, the result may not be bit-equal to an uninterrupted run.
    """
    path = folder / ENVIRONMENT
    sitting = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": without_passwords(shlex.join(["adasparse", *sys.argv[1:]])),
        "device": current.device,
        "threads": current.threads,
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
            "data_fingerprint": current.fingerprint,
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


def finish(folder: Path) -> None:
    """Mark a run as done, with the checksums of its files."""
    write_sealed(folder / DONE, {"done_version": DONE_VERSION, "files": checksums(folder, list(own_files(folder)))})


def fail(folder: Path, failure: Failure) -> None:
    """Mark a run as failed."""
    content = {"error": failure.message, "fails_again": failure.fails_again, "damaged": failure.damaged}
    write_json(folder / FAILED, content)


def same_run(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two configurations compute the same."""
    return what_it_computes(one) == what_it_computes(other)


def what_it_computes(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a configuration that the result of a run depends on."""
    kept = {key: value for key, value in config.items() if key not in _NOT_OF_THE_RUN}
    loop = {key: value for key, value in dict(kept.get("loop", {})).items() if key != "checkpoint_seconds"}
    return {**kept, "loop": loop}


def _source_commit() -> dict[str, Any]:
    """The commit of this code if a git repository tracks it. An installed package has none, even if its environment is
    inside the repository of another project.
    """
    here = Path(__file__)

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", *words], cwd=here.parent, capture_output=True, text=True, timeout=5, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    if git("ls-files", "--error-unmatch", here.name) is None:
        return {"git_commit": None, "git_changed": None}
    changes = git("status", "--porcelain", "--untracked-files=no")
    return {"git_commit": git("rev-parse", "HEAD"), "git_changed": None if changes is None else bool(changes)}
