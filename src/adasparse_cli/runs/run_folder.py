"""The life of a run's folder: made, continued, failed or finished; found again by its settings. `saved_run.py` says what it holds."""

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
    saved_config,
)
from adasparse_cli.schema import Manifest
from adasparse_cli.typed import to_yaml, without_passwords

STAMP = "%Y%m%dT%H%M%SZ"  # UTC; the name of a run begins with it
# Where things lie and who is told of them does not change what a run computes.
_NOT_OF_THE_RUN = ("paths", "raw", "tracking")


def new_run(parent: Path, config: Mapping[str, Any], *, seed: int, sitting: Sitting) -> Path:
    """Create the folder of a run that starts now; two that start in the same second get different ones.

    The folder appears with its settings and the fingerprint of its data, so nobody can take it for another run. Only who
    holds the folder of all runs may call this.
    """
    for left in parent.glob(".*.starting"):  # of a process that was killed here
        shutil.rmtree(left)
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
    """The newest run in `parent` of the same settings on the same data, begun at a time (seconds since 1970) or later.

    A run that failed counts only where no other is found, and if it can be resumed or would fail again: see `Failure`.
    """
    failed = None
    first = "" if begun_since is None else datetime.fromtimestamp(begun_since, UTC).strftime(STAMP)
    # control arms of earlier versions do not carry it in their name
    parents = {parent, parent.with_name(parent.name.removesuffix(PLACEBO))}
    for folder in sorted((run for one in parents for run in one.glob("*-s*")), key=_stamp, reverse=True):
        if not (folder / CONFIG).exists() or folder.name < first:
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


def finish(folder: Path) -> None:
    """Mark a run as done, with the checksums of its files."""
    write_sealed(folder / DONE, {"done_version": DONE_VERSION, "files": checksums(folder, list(own_files(folder)))})


def fail(folder: Path, failure: Failure) -> None:
    """Mark a run as failed."""
    found = {"error": failure.message, "fails_again": failure.fails_again, "damaged": failure.damaged}
    write_json(folder / FAILED, found)


def same_run(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two configurations compute the same."""
    return what_it_computes(one) == what_it_computes(other)


def what_it_computes(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a configuration that the result of a run depends on."""
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
