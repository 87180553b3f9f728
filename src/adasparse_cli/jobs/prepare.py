"""Raw files to prepared data, done once: what is there and current is left alone."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from adasparse_cli.choices import Split
from adasparse_cli.config import compose, data_start, data_words, explicit_keys, word
from adasparse_cli.errors import DataError, UsageError
from adasparse_cli.files import only_owner
from adasparse_cli.prep.inspect import Inspection, inspect
from adasparse_cli.prep.prepare import prepare, rejects_of_a_failed_try
from adasparse_cli.prep.prepared import is_current, open_prepared
from adasparse_cli.prep.recipe import DataSettings, Progress, Silent, recipe_named
from adasparse_cli.schema import Manifest
from adasparse_cli.typed import plain, typed


@dataclass(frozen=True, kw_only=True)
class PrepJob:
    """What to prepare.

    Args:
        settings: of the recipe.
        raw: files to read; empty for a recipe that writes its own.
        folder: where the prepared data go.
        may_replace: whether data that stand there with other settings are replaced. Runs and studies lean on prepared
            data, so of a person's own files only `adasparse prep` replaces them; a synthetic log can be made again.
    """

    settings: DataSettings
    raw: tuple[Path, ...]
    folder: Path
    may_replace: bool = True


@dataclass(frozen=True, kw_only=True)
class PrepReport:
    """What was prepared. `fresh` is False where the data stood there already, unchanged."""

    folder: Path
    manifest: Manifest
    fresh: bool
    elapsed_seconds: float


def plan_prep(overrides: Sequence[str], *, config_file: Path | None = None) -> PrepJob:
    """A job from words of the command line."""
    tree = compose("prep", overrides, config_file=config_file)
    return _job(tree["data"], tree["raw"], Path(tree["paths"]["data"]))


def plan_data(tree: Mapping[str, Any], overrides: Sequence[str], *, config_file: Path | None = None) -> PrepJob:
    """The data that another command needs.

    Prepared data keep the settings they were prepared with, save those that this command names:
    after `prep data=iaac data.split=random`, `train data=iaac` trains on the random split.
    """
    values, raw = dict(tree["data"]), tree["raw"]
    root = Path(tree["paths"]["data"])
    manifest = existing(root / str(values["name"]))
    if manifest is not None and manifest.recipe == values["recipe"]:
        named = explicit_keys(overrides, config_file=config_file)
        values |= {key: value for key, value in manifest.settings.items() if f"data.{key}" not in named}
        # relative paths are files that the recipe wrote itself
        raw = raw or [source.path for source in manifest.sources if Path(source.path).is_absolute()]
    elif manifest is None and not raw and "???" in values.values():
        there = sorted(path.parent.name for path in root.glob("*/manifest.json"))
        raise UsageError(
            f"{root / str(values['name'])} is not prepared",
            hint=f"there are {', '.join(there)}"
            if there
            else "adasparse prep data=tabular raw=FILE … prepares a table",
        )
    job = _job(values, raw, root)
    return replace(job, may_replace=not job.raw)


def run_prep(job: PrepJob, progress: Progress | None = None) -> PrepReport:
    """Prepare the data unless they stand there already, made from the same files with the same settings.

    Raises:
        DataError: the raw files cannot be used.
        UsageError: the data's folder holds other things, or one of the raw files, or data that may not be replaced.
        BusyError: another process prepares the same data.
    """
    progress, started = progress or Silent(), time.monotonic()
    values = plain(job.settings)
    job.folder.parent.mkdir(parents=True, exist_ok=True)
    with only_owner(job.folder.parent / f".{job.folder.name}.owner"):
        manifest = existing(job.folder)
        if manifest is not None and is_current(manifest, values, list(job.raw)):
            rejects_of_a_failed_try(job.folder.parent, job.settings).unlink(missing_ok=True)
            return PrepReport(folder=job.folder, manifest=manifest, fresh=False, elapsed_seconds=0.0)
        _require_sources(job)
        _require_place(job, ours=manifest is not None)
        if manifest is not None and not job.may_replace:
            _require_alike(job, manifest, values)
        if manifest is not None:
            progress.note(f"{job.folder} was prepared from other files or settings: preparing it anew")
        manifest = prepare(job.settings, values, list(job.raw), job.folder, progress)
        rejects_of_a_failed_try(job.folder.parent, job.settings).unlink(missing_ok=True)
    return PrepReport(folder=job.folder, manifest=manifest, fresh=True, elapsed_seconds=time.monotonic() - started)


def run_inspect(job: PrepJob, progress: Progress | None = None) -> Inspection:
    """Look at the raw files and write nothing that stays."""
    _require_sources(job)
    return inspect(job.settings, job.raw, progress or Silent())


def require_learnable(manifest: Manifest) -> None:
    """Both classes must be in the train split.

    Raises:
        DataError: there is nothing to be learnt.
    """
    counts = manifest.splits[Split.train]
    if not counts.rows or not counts.positives or counts.positives == counts.rows:
        raise DataError(
            f"the train split of {manifest.name} has {counts.positives or 0} positives in {counts.rows} rows",
            hint="nothing can be learnt from one class; use more data or another data.split",
        )


def _require_sources(job: PrepJob) -> None:
    missing = [str(path) for path in job.raw if not path.exists()]
    if missing:
        raise DataError(f"{missing[0]} is not there", hint="raw=PATH names the raw files, relative to this folder")
    require_files(job.raw)


def require_files(paths: Sequence[Path]) -> None:
    """Refuse devices, pipes and folders: their content has no end, never comes, or is none.

    Raises:
        DataError: a path is not a file.
    """
    for path in paths:
        if path.exists() and not path.is_file():
            raise DataError(f"{path} is not a regular file", hint="name files; pipes and devices are not read")


def _require_alike(job: PrepJob, manifest: Manifest, values: Mapping[str, Any]) -> None:
    """Data are not replaced by the way."""
    for key, value in values.items():
        if value != (there := manifest.settings.get(key)):
            raise UsageError(
                f"{job.folder} was prepared with {word(f'data.{key}', there)}, and this asks for {word(f'data.{key}', value)}",
                hint="add data.name=NAME to keep both; adasparse prep with the same words replaces it",
            )


def _require_place(job: PrepJob, *, ours: bool) -> None:
    """The data's folder is replaced whole, so nothing else may stand in it."""
    inside = [path for path in job.raw if path.resolve().is_relative_to(job.folder.resolve())]
    if inside:
        raise UsageError(
            f"{inside[0]} lies in {job.folder}, the folder that the prepared data replace",
            hint="move the file elsewhere, or give the data another name with data.name=…",
        )
    if not ours and job.folder.exists() and (not job.folder.is_dir() or any(job.folder.iterdir())):
        raise UsageError(
            f"{job.folder} is there, and holds no prepared data",
            hint="give the data another name with data.name=…, or move away what stands there",
        )


def words_for(manifest: Manifest) -> str:
    """What to type to name these data in another command, where they lie prepared: they keep their settings."""
    start = data_start(manifest.name, manifest.recipe)
    words = [f"data={start}"]
    if start == "common":
        words.append(word("data.recipe", manifest.recipe))
    if start != manifest.name:
        words.append(word("data.name", manifest.name))
    return shlex.join(words)


def words_to_prepare(values: Mapping[str, Any], raw: Sequence[str], root: str) -> str | None:
    """What to type after `adasparse prep` to prepare the same data where they are not; None where words cannot say it.

    Args:
        values: settings of the recipe. raw: files to read. root: the folder of prepared data.
    """
    words = data_words(values)
    if words is None:
        return None
    if raw:
        words.append(word("raw", list(raw) if len(raw) > 1 else raw[0]))
    if root != compose("prep", [])["paths"]["data"]:
        words.append(word("paths.data", root))
    return shlex.join(words)


def existing(folder: Path) -> Manifest | None:
    """The manifest of a folder, or None where there are no complete data."""
    return open_prepared(folder) if (folder / "manifest.json").exists() else None


def _job(values: Mapping[str, Any], raw: Iterable[str] | str, root: Path) -> PrepJob:
    recipe = recipe_named(str(values["recipe"]))
    settings: DataSettings = typed(values, recipe.Settings, "data")
    paths = tuple(Path(path) for path in ([raw] if isinstance(raw, str) else raw))
    return PrepJob(settings=settings, raw=paths, folder=root / settings.name)
