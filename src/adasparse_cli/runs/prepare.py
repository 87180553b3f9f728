"""Prepare raw files. Only `prep` may replace prepared data; other commands use them, or refuse.

A data name belongs to one recipe and its settings. Runs depend on prepared data, so `adasparse prep` asks for `--replace`
before it replaces data that runs were trained on.
"""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adasparse_cli.choices import PrepEngine, nearest_names
from adasparse_cli.config.as_words import data_words
from adasparse_cli.config.compose import compose, data_choice, explicit_keys
from adasparse_cli.config.packaged_sections import offered
from adasparse_cli.config.root import EngineSettings
from adasparse_cli.config.spelling import word
from adasparse_cli.errors import DataError, UsageError
from adasparse_cli.files import only_owner
from adasparse_cli.prep.recipe import DataSettings, Progress, Silent, given_files, settings_of_recipe
from adasparse_cli.prepared.files import as_today, changed_sources, is_current, open_prepared
from adasparse_cli.prepared.place import MANIFEST, owner_folder, recover, rejects_of_a_failed_try, work_folder
from adasparse_cli.runs.data_words import shortest_words, words_of
from adasparse_cli.runs.run_folder import runs_on
from adasparse_cli.schema import Manifest
from adasparse_cli.typed import plain, typed

if TYPE_CHECKING:
    from adasparse_cli.prep.inspect import Inspection

# Keys that select a data set. Every other key below `data` is a setting of the data set.
_DATA_KEYS = {"data", "data.name"}


@dataclass(frozen=True, kw_only=True)
class PrepJob:
    """What to prepare.

    Args:
        settings: settings of the recipe.
        raw: files to read; empty for a recipe that generates its files.
        folder: folder of the prepared data.
        raw_named: whether `raw` was given; else the paths come from the manifest of the prepared data.
        runs: directory of runs that may depend on the data.
        engine: engine of `prep`; other commands prepare data on this machine.
    """

    settings: DataSettings
    raw: tuple[Path, ...]
    folder: Path
    raw_named: bool = True
    runs: Path | None = None
    engine: EngineSettings = field(
        default_factory=lambda: EngineSettings(engine=PrepEngine.local, master=None, cores=None)
    )


@dataclass(frozen=True, kw_only=True)
class PrepReport:
    """The prepared data. `fresh` is False if they existed before."""

    folder: Path
    manifest: Manifest
    fresh: bool
    elapsed_seconds: float


def plan_prep(overrides: Sequence[str], *, config_file: Path | None = None) -> PrepJob:
    """A job from the settings of a command line."""
    tree = compose("prep", overrides, config_file=config_file)
    return _job(tree, tree["data"], tree["raw"])


def plan_preps(overrides: Sequence[str], *, config_file: Path | None = None) -> list[PrepJob]:
    """One job per label. `data.label=[click,conversion]` prepares the data twice, as NAME-click and NAME-conversion.

    The other labels are not features.
    """
    tree = compose("prep", overrides, config_file=config_file)
    labels = tree["data"].get("label")
    if not isinstance(labels, list):
        return [_job(tree, tree["data"], tree["raw"])]
    if not labels or len(set(labels)) < len(labels):
        raise UsageError(
            f"data.label={labels} is empty or repeats a label", hint="for example 'data.label=[click,conversion]'"
        )
    jobs = []
    for label in labels:
        values = {**tree["data"], "label": label, "name": f"{tree['data']['name']}-{label}"}
        if "labels" not in values and "roles" in values:
            values["roles"] = {**{one: "ignored" for one in labels if one != label}, **values["roles"]}
        jobs.append(_job(tree, values, tree["raw"]))
    return jobs


def plan_data(tree: Mapping[str, Any], overrides: Sequence[str], *, config_file: Path | None = None) -> PrepJob:
    """The data that a command other than `prep` needs.

    Prepared data keep their settings: after `prep data=iaac data.split=random`, `train data=iaac` trains on the random
    split. `ensure_prepared` refuses a given setting with another value.

    Raises:
        UsageError: the data are not prepared, and their settings or raw files are unknown.
    """
    values, raw = dict(tree["data"]), _paths(tree["raw"])
    if isinstance(labels := values.get("label"), list):
        names = " and ".join(f"{values['name']}-{one}" for one in labels)
        raise UsageError(
            f"data.label={labels}: a model is trained on one label only",
            hint=f"adasparse prep with the same settings prepares {names}; data=NAME selects one of them",
        )
    folder = Path(tree["paths"]["data"]) / str(values["name"])
    named = explicit_keys(overrides, config_file=config_file)
    manifest = existing(folder)
    if manifest is not None:
        _require_recipe(folder, manifest, str(values["recipe"]))
        # `data.take.label=…` sets a part of `data.take`
        given = {".".join(key.split(".")[:2]) for key in named}
        values |= {key: value for key, value in as_today(manifest).items() if f"data.{key}" not in given}
        # relative paths are files that the recipe generated
        raw = raw or [source.path for source in manifest.sources if Path(source.path).is_absolute()]
    elif not raw and "???" in values.values():
        raise UsageError(f"{folder} is not prepared", hint=_prepared_beside(folder))
    elif named & _DATA_KEYS == {"data.name"} and not any(key.startswith("data.") for key in named - _DATA_KEYS):
        # a name alone must be the name of prepared data: a misspelt name must not become a synthetic data set
        raise UsageError(
            f"{folder} is not prepared",
            hint=f"{_prepared_beside(folder)}; data=twin data.name={folder.name} creates a synthetic data set of that name",
        )
    return _job(tree, values, raw, raw_named="raw" in named and bool(tree["raw"]))


def with_prepared(overrides: Sequence[str], *, config_file: Path | None = None) -> list[str]:
    """Replace the name of prepared data by its recipe and name: `data=clicks` and `data.name=clicks` both select the data
    that `prep` wrote under that name, with the recipe of their manifest.
    """
    chosen = data_choice(overrides, config_file=config_file)
    name = chosen.name or chosen.group
    if name is None or chosen.group in offered("data"):
        return list(overrides)
    manifest = existing(chosen.root / name)
    if manifest is None:
        if chosen.group is not None and chosen.name is None:
            raise UsageError(
                f"data={name}: unknown data set, neither prepared in {chosen.root} nor packaged",
                hint=f"{_prepared_beside(chosen.root / name)}; packaged data sets: {', '.join(offered('data'))}",
            )
        return list(overrides)
    others = [override for override in overrides if override.partition("=")[0] not in ("data", "data.name")]
    return [*words_of(name, manifest.recipe), *others]


def ensure_prepared(job: PrepJob, progress: Progress | None = None) -> PrepReport:
    """The prepared data of a job. They are prepared if no data of that name exist, and never replaced.

    Complete data are read without a lock and without writing files, so their folder may be read-only.

    Raises:
        UsageError: the data were prepared with another recipe, other settings, or other raw files.
        DataError: the data must be prepared, and the raw files cannot be used.
        BusyError: another process prepares them.
    """
    progress = progress or Silent()
    manifest = existing(job.folder)
    if manifest is None:
        return run_prep(job, progress)
    _require_recipe(job.folder, manifest, job.settings.recipe)
    asked, made = plain(job.settings), as_today(manifest)
    for key, value in asked.items():
        if value != made.get(key):
            raise UsageError(
                f"{job.folder} was prepared with {word(f'data.{key}', made.get(key))}, "
                f"but this command asks for {word(f'data.{key}', value)}",
                hint="data.name=NAME keeps both; adasparse prep with the same settings and --replace replaces the data",
            )
    if job.raw_named and job.raw and (differs := _another_source(manifest, job.raw)):
        raise UsageError(
            f"{job.folder} was not prepared from {differs}",
            hint="omit raw= to use the prepared data; adasparse prep with --replace prepares them again",
        )
    for path in changed_sources(manifest, job.raw):
        if job.raw_named:
            raise UsageError(
                f"{path} has changed since {job.folder} was prepared from it",
                hint="omit raw= to use the prepared data; adasparse prep with --replace prepares them again",
            )
        progress.note(f"{path} has changed since {job.folder} was prepared from it; using the prepared data")
    return PrepReport(folder=job.folder, manifest=manifest, fresh=False, elapsed_seconds=0.0)


def run_prep(job: PrepJob, progress: Progress | None = None, *, replace: bool = False) -> PrepReport:
    """Prepare the data, unless they are already prepared from the same files with the same settings.

    Args:
        replace: whether data that runs depend on may be replaced.

    Raises:
        DataError: the raw files cannot be used.
        UsageError: the folder contains other files, a raw file, or data that runs depend on.
        BusyError: another process prepares the same data.
    """
    progress, started = progress or Silent(), time.monotonic()
    values = plain(job.settings)
    if (manifest := existing(job.folder)) is not None and is_current(manifest, values, job.raw):
        return _up_to_date(job, manifest)
    job.folder.parent.mkdir(parents=True, exist_ok=True)
    recover(job.folder)  # takes the lock itself
    with only_owner(owner_folder(job.folder)):
        # another process may have prepared the data in the meantime
        manifest = existing(job.folder)
        if manifest is not None and is_current(manifest, values, job.raw):
            return _up_to_date(job, manifest)
        _require_sources(job)
        _require_place(job, ours=manifest is not None)
        if manifest is not None:
            stale = [] if job.runs is None else runs_on(job.runs, manifest)
            if stale and not replace:
                _refuse_to_replace(job, manifest, values, stale)
            progress.note(f"replacing {job.folder}, which was prepared from other files or settings")
            if stale:
                progress.note(
                    f"these runs become stale, because they were trained on the replaced data: {_listed(stale)}"
                )
        manifest = _prepared(job, values, progress)
        rejects_of_a_failed_try(job.folder.parent, job.settings.name).unlink(missing_ok=True)
    return PrepReport(folder=job.folder, manifest=manifest, fresh=True, elapsed_seconds=time.monotonic() - started)


def _prepared(job: PrepJob, values: Mapping[str, Any], progress: Progress) -> Manifest:
    from adasparse_cli.prep.prepare import prepare  # loads polars, which plans do without

    if job.engine.engine is PrepEngine.local:
        return prepare(job.settings, values, list(job.raw), job.folder, progress)
    from adasparse_cli.spark.engine import SparkEngine

    # workers have another current folder
    folder, raw = job.folder.absolute(), [path.absolute() for path in job.raw]
    engine = SparkEngine(spark_master(job.engine), job.settings.name, work_folder(folder))
    return prepare(job.settings, values, raw, folder, progress, engine)


def spark_master(settings: EngineSettings) -> str | None:
    """The address of a cluster, as Spark writes it.

    Raises:
        UsageError: a number of cores for a cluster, which has its own settings for them.
    """
    if settings.cores is not None and settings.master != "local":
        raise UsageError(
            f"prep.cores={settings.cores} is for prep.master=local, and prep.master is {settings.master}",
            hint="spark.cores.max or spark.executor.cores in spark-defaults.conf limits the cores on a cluster",
        )
    return f"local[{settings.cores or '*'}]" if settings.master == "local" else settings.master


def run_inspect(job: PrepJob, progress: Progress | None = None) -> Inspection:
    """Inspect the raw files. Only temporary files are written.

    Raises:
        UsageError: `prep.engine` is not `local`.
    """
    from adasparse_cli.prep.inspect import inspect  # loads polars, which plans do without

    if job.engine.engine is not PrepEngine.local:
        raise UsageError(
            "--inspect supports only prep.engine=local",
            hint="omit prep.engine, and inspect some of the files",
        )
    _require_sources(job)
    return inspect(job.settings, job.raw, progress or Silent())


def _require_sources(job: PrepJob) -> None:
    missing = [str(path) for path in job.raw if not path.exists()]
    if missing:
        raise DataError(
            f"{missing[0]} does not exist", hint="raw=PATH names the raw files, relative to the current folder"
        )
    require_files(job.raw)


def require_files(paths: Sequence[Path]) -> None:
    """Refuse devices, pipes and folders, which cannot be read to their end.

    Raises:
        DataError: a path is not a file.
    """
    for path in paths:
        if path.exists() and not path.is_file():
            raise DataError(f"{path} is not a regular file", hint="name files; pipes and devices are not supported")


def _up_to_date(job: PrepJob, manifest: Manifest) -> PrepReport:
    with contextlib.suppress(OSError):  # the list of rejected rows is obsolete; a read-only folder keeps it
        rejects_of_a_failed_try(job.folder.parent, job.settings.name).unlink(missing_ok=True)
    return PrepReport(folder=job.folder, manifest=manifest, fresh=False, elapsed_seconds=0.0)


def _refuse_to_replace(job: PrepJob, manifest: Manifest, values: Mapping[str, Any], stale: Sequence[Path]) -> None:
    made = as_today(manifest)
    differing = [key for key, value in values.items() if value != made.get(key)]
    what = (
        f"{word(f'data.{differing[0]}', made.get(differing[0]))}, not {word(f'data.{differing[0]}', values[differing[0]])}"
        if differing
        else f"an earlier version of {_another_source(manifest, job.raw) or 'the raw files'}"
    )
    raise UsageError(
        f"{job.folder} was prepared with {what}; replacing it makes {len(stale)} "
        f"run{'s' * (len(stale) != 1)} stale: {_listed(stale)}",
        hint="--replace replaces the data anyway; data.name=NAME keeps both",
    )


def _listed(runs: Sequence[Path], most: int = 5) -> str:
    more = f" and {len(runs) - most} more" if len(runs) > most else ""
    return ", ".join(map(str, runs[:most])) + more


def _another_source(manifest: Manifest, raw: Sequence[Path]) -> Path | None:
    """The first of these files that is not a source of the data, or that has changed since; None if all are unchanged."""
    known = [source.path for source in manifest.sources]
    if [str(path.resolve()) for path in raw] == known:
        return None
    return next((path for path in raw if str(path.resolve()) not in known), raw[0] if raw else None)


def _require_recipe(folder: Path, manifest: Manifest, recipe: str) -> None:
    if manifest.recipe != recipe:
        raise UsageError(
            f"{folder} was prepared with the recipe {manifest.recipe}, but this command asks for the recipe {recipe}",
            hint=f"{shlex.join(shortest_words(folder.name, manifest.recipe))} uses these data; data.name=NAME prepares others",
        )


def _prepared_beside(folder: Path) -> str:
    prepared = sorted(path.parent.name for path in folder.parent.glob(f"[!.]*/{MANIFEST}"))
    if not prepared:
        return "adasparse prep data=tabular raw=FILE … prepares a table"
    return f"prepared data sets include {nearest_names(folder.name, prepared)}"


def _require_place(job: PrepJob, *, ours: bool) -> None:
    """Refuse a folder with other files, because the folder is replaced as a unit."""
    inside = [path for path in job.raw if path.resolve().is_relative_to(job.folder.resolve())]
    if inside:
        raise UsageError(
            f"{inside[0]} is in {job.folder}, the folder that the prepared data replace",
            hint="move the file, or choose another name for the data: data.name=NAME",
        )
    if not ours and job.folder.exists() and (not job.folder.is_dir() or any(job.folder.iterdir())):
        raise UsageError(
            f"{job.folder} exists, but it contains no prepared data",
            hint="choose another name for the data, data.name=NAME, or move the folder",
        )


def words_to_prepare(values: Mapping[str, Any], raw: Sequence[str], root: str) -> str | None:
    """The arguments of `adasparse prep` that prepare the same data elsewhere; None if arguments cannot express them.

    Args:
        values: settings of the recipe.
        raw: files to read.
        root: the directory of prepared data.
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
    """The manifest of a folder; None if it has no complete data."""
    recover(folder)
    return open_prepared(folder) if (folder / MANIFEST).exists() else None


def _paths(given: str | Sequence[str]) -> list[str]:
    return [given] if isinstance(given, str) else list(given)


def _job(
    tree: Mapping[str, Any], values: Mapping[str, Any], given: str | Sequence[str], *, raw_named: bool = True
) -> PrepJob:
    settings = typed(values, settings_of_recipe(str(values["recipe"])), "data")
    raw = given_files(settings, _paths(given))
    folder = Path(tree["paths"]["data"]) / settings.name
    engine: dict[str, Any] = {"engine": typed(tree["prep"], EngineSettings, "prep")} if "prep" in tree else {}
    return PrepJob(
        settings=settings, raw=raw, folder=folder, raw_named=raw_named, runs=Path(tree["paths"]["runs"]), **engine
    )
