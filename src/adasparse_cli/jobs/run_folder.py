"""A run's folder: `runs/<data>/<model>[-<mode>]/<UTC stamp>-s<seed>/`, written once and never overwritten.

config.yaml       the resolved settings           report.json          stands alone: what was done and found
environment.json  versions, device, command line  domains.csv          per-domain rows, metrics, sparsity
metrics.jsonl     one line per log step           predictions.parquet  scores of the test split
checkpoints/      last and best                   DONE or FAILED       last
"""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

from adasparse_cli.errors import IntegrityError, UsageError
from adasparse_cli.files import read_json, read_small_text, write_json, write_text
from adasparse_cli.typed import from_yaml, to_yaml, without_passwords

DONE, FAILED, CONFIG, REPORT, PREDICTIONS = "DONE", "FAILED", "config.yaml", "report.json", "predictions.parquet"
REPORT_VERSION = 1
# Where things lie and who is told of them does not change what a run computes.
_NOT_OF_THE_RUN = ("paths", "raw", "tracking")
# What was always so before it became a key of `loop`, for runs of earlier versions.
_ALWAYS_SO_BEFORE = {"matmul_precision": "highest"}


def new_run(parent: Path, config: Mapping[str, Any], *, seed: int) -> Path:
    """Create the folder of a run that starts now; two that start in the same second get different ones."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    for attempt in range(100):
        folder = parent / (f"{stamp}-s{seed}" + (f"-{attempt}" if attempt else ""))
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        write_text(folder / CONFIG, without_passwords(to_yaml(config)))
        return folder
    raise IntegrityError(f"{parent} is full of runs of this second", hint="try again")


def latest_alike(parent: Path, config: Mapping[str, Any], fingerprint: str) -> Path | None:
    """The newest run in `parent` of the same settings on the same data that has not failed."""
    for folder in sorted(parent.glob("*-s*"), reverse=True):
        if (folder / FAILED).exists() or not (folder / CONFIG).exists():
            continue
        environment = folder / "environment.json"
        try:
            if not environment.exists() or read_json(environment)["data_fingerprint"] != fingerprint:
                continue
            if same_run(read_config(folder), config):
                return folder
        except IntegrityError:  # nobody can say what a damaged run is of, so it is not taken for this one
            continue
    return None


def write_environment(folder: Path, *, device: str, threads: int, fingerprint: str) -> list[str]:
    """Record what this sitting of the run stands on.

    Returns:
        What differs from the sitting before: then the end need not be the same to the bit.
    """
    path = folder / "environment.json"
    sitting = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": without_passwords(shlex.join(["adasparse", *sys.argv[1:]])),
        "device": device,
        "threads": threads,
        "host": {"system": platform.platform(), "python": platform.python_version(), "cores": os.cpu_count()},
        "versions": {name: version(name) for name in ("adasparse-cli", "torch", "numpy", "polars", "safetensors")},
        "git_commit": _git_commit(),
    }
    before = read_json(path)["sittings"] if path.exists() else []
    write_json(path, {"data_fingerprint": fingerprint, "sittings": [*before, sitting]})
    if not before:
        return []
    return [
        f"{name}: {before[-1][name]} before, {sitting[name]} now"
        for name in ("device", "threads", "versions")
        if before[-1][name] != sitting[name]
    ]


def finish(folder: Path, *, error: str | None = None) -> None:
    """Mark a run as done, or failed and why."""
    write_text(folder / (DONE if error is None else FAILED), (error or "") + "\n")


def read_config(folder: Path) -> dict[str, Any]:
    """The resolved settings of a run.

    Raises:
        IntegrityError: the file is missing, or holds no settings.
    """
    path = folder / CONFIG
    try:
        return _as_today(from_yaml(read_small_text(path)))
    except (OSError, ValueError, IntegrityError):
        raise IntegrityError(f"{path} is missing or damaged", hint=anew(folder)) from None


def read_report(folder: Path) -> dict[str, Any]:
    """What a run found.

    Raises:
        IntegrityError: report.json is missing, damaged, or of another version.
    """
    path = folder / REPORT
    try:
        found: dict[str, Any] = read_json(path)
        version_of = found["report_version"]
    except IntegrityError as error:
        raise IntegrityError(error.message, hint=anew(folder)) from None
    except (KeyError, TypeError):
        raise IntegrityError(f"{path} is damaged: it has no report_version", hint=anew(folder)) from None
    if version_of != REPORT_VERSION:
        raise IntegrityError(
            f"{path} is of report format {version_of}, this version reads {REPORT_VERSION}", hint=anew(folder)
        )
    return {**found, "settings": _as_today(found["settings"])} if "settings" in found else found


def _as_today(settings: dict[str, Any]) -> dict[str, Any]:
    loop = settings.get("loop")
    return {**settings, "loop": {**_ALWAYS_SO_BEFORE, **loop}} if isinstance(loop, dict) else settings


def read_predictions(folder: Path) -> pl.DataFrame:
    """The scores of a run's test split: source, line, label, domain, logit, probability, and the user where there is one.

    Raises:
        IntegrityError: the file is missing or damaged.
    """
    path = folder / PREDICTIONS
    try:
        return pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError):
        what = "is damaged" if path.exists() else "is missing"
        raise IntegrityError(f"{path} {what}", hint=anew(folder)) from None


def anew(folder: Path) -> str:
    """What to do about a damaged run."""
    return f"adasparse runs rm {folder.name} removes the run; the command that made it trains it anew"


def find_run(words: str, root: Path) -> Path:
    """A run by its folder, by `latest`, or by a part of its path that only it has.

    Raises:
        UsageError: no run, or several.
    """
    given = Path(words)
    if (given / CONFIG).exists():
        return given
    runs = sorted((path.parent for path in root.glob(f"*/*/*/{CONFIG}")), key=lambda path: path.name)
    if not runs:
        raise UsageError(f"there are no runs in {root}", hint="adasparse train makes one")
    if words == "latest":
        return runs[-1]
    found = [run for run in runs if words in str(run.relative_to(root))]
    if len(found) == 1:
        return found[0]
    several = f"{len(found)} runs match {words!r}, such as {found[0].relative_to(root)}" if found else None
    raise UsageError(
        several or f"no run matches {words!r}", hint="adasparse runs ls lists them; `latest` is the newest"
    )


def newest_run_of(model: str, words: str | None, root: Path) -> Path:
    """The run that words name, or the newest finished one of a model where there are no words.

    Raises:
        UsageError: there is none.
    """
    if words is not None:
        return find_run(words, root)
    done = [path.parent for path in root.glob(f"*/{model}*/*/{DONE}")]
    if not done:
        raise UsageError(f"there is no finished run of {model} in {root}", hint=f"adasparse train --model {model}")
    return max(done, key=lambda folder: folder.name)


def same_run(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two configurations compute the same."""
    return _comparable(one) == _comparable(other)


def _comparable(config: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in config.items() if key not in _NOT_OF_THE_RUN}
    loop = {key: value for key, value in dict(kept.get("loop", {})).items() if key != "checkpoint_seconds"}
    return {**kept, "loop": loop}


def _git_commit() -> str | None:
    """The commit of the checkout that the package is run from, if it is one."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None
