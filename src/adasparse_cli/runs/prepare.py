"""Raw files to prepared data. `prep` makes and replaces them; every other command uses what is there, or refuses.

A data name belongs to the recipe and the settings that made it. Runs depend on prepared data, so only `adasparse prep`
replaces them, and it asks for `--replace` where runs depend on them.
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
from adasparse_cli.prep.place import MANIFEST, owner_folder, recover, rejects_of_a_failed_try, work_folder
from adasparse_cli.prep.prepared_files import as_today, changed_sources, is_current, open_prepared
from adasparse_cli.prep.recipe import DataSettings, Progress, Silent, given_files, settings_of_recipe
from adasparse_cli.runs.data_words import shortest_words, words_of
from adasparse_cli.runs.run_folder import runs_on
from adasparse_cli.schema import Manifest
from adasparse_cli.typed import plain, typed

if TYPE_CHECKING:
    from adasparse_cli.prep.inspect import Inspection

# What chooses a data set; every other key below `data` is a setting of it.
_DATA_KEYS = {"data", "data.name"}


@dataclass(frozen=True, kw_only=True)
class PrepJob:
    """What to prepare.

    Args:
        settings: of the recipe.
        raw: files to read; empty for a recipe that writes its own.
        folder: where the prepared data go.
        raw_named: whether a person named `raw`; else the paths come from the manifest of the prepared data.
        runs: folder of the runs that may depend on the data.
        engine: where `prep` runs; other commands that prepare data run on this machine.
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
    """What was prepared. `fresh` is False where the data stood there already, unchanged."""

    folder: Path
    manifest: Manifest
    fresh: bool
    elapsed_seconds: float


def plan_prep(overrides: Sequence[str], *, config_file: Path | None = None) -> PrepJob:
    """A job from settings of the command line."""
    tree = compose("prep", overrides, config_file=config_file)
    return _job(tree, tree["data"], tree["raw"])


def plan_preps(overrides: Sequence[str], *, config_file: Path | None = None) -> list[PrepJob]:
    """A job for each label: `data.label=[click,conversion]` prepares the data once for each, as NAME-click and NAME-conversion.

    The other labels are no features.
    """
    tree = compose("prep", overrides, config_file=config_file)
    labels = tree["data"].get("label")
    if not isinstance(labels, list):
        return [_job(tree, tree["data"], tree["raw"])]
    if not labels or len(set(labels)) < len(labels):
        raise UsageError(
            f"data.label={labels} names no label, or one twice", hint="such as 'data.label=[click,conversion]'"
        )
    jobs = []
    for label in labels:
        values = {**tree["data"], "label": label, "name": f"{tree['data']['name']}-{label}"}
        if "labels" not in values and "roles" in values:
            values["roles"] = {**{one: "ignored" for one in labels if one != label}, **values["roles"]}
        jobs.append(_job(tree, values, tree["raw"]))
    return jobs


def plan_data(tree: Mapping[str, Any], overrides: Sequence[str], *, config_file: Path | None = None) -> PrepJob:
    """The data that another command needs.

    Prepared data keep the settings they were prepared with: after `prep data=iaac data.split=random`, `train data=iaac`
    trains on the random split. A setting that is named with another value is refused by `ensure_prepared`.

    Raises:
        UsageError: the data are not prepared, and their settings or raw files are not known.
    """
    values, raw = dict(tree["data"]), _paths(tree["raw"])
    if isinstance(labels := values.get("label"), list):
        names = " and ".join(f"{values['name']}-{one}" for one in labels)
        raise UsageError(
            f"data.label={labels}: a model is trained on one label",
            hint=f"adasparse prep with the same settings prepares {names}, and data=NAME uses one of them",
        )
    folder = Path(tree["paths"]["data"]) / str(values["name"])
    named = explicit_keys(overrides, config_file=config_file)
    manifest = existing(folder)
    if manifest is not None:
        _require_recipe(folder, manifest, str(values["recipe"]))
        # `data.take.label=…` names a part of `data.take`
        asked = {".".join(key.split(".")[:2]) for key in named}
        values |= {key: value for key, value in as_today(manifest).items() if f"data.{key}" not in asked}
        # relative paths are files that the recipe wrote itself
        raw = raw or [source.path for source in manifest.sources if Path(source.path).is_absolute()]
    elif not raw and "???" in values.values():
        raise UsageError(f"{folder} is not prepared", hint=_prepared_beside(folder))
    elif named & _DATA_KEYS == {"data.name"} and not any(key.startswith("data.") for key in named - _DATA_KEYS):
        # a name alone is that of data which should be there; a misspelt one must not become a synthetic data set
        raise UsageError(
            f"{folder} is not prepared",
            hint=f"{_prepared_beside(folder)}; data=twin data.name={folder.name} makes a synthetic data set of that name",
        )
    return _job(tree, values, raw, raw_named="raw" in named and bool(tree["raw"]))


def with_prepared(overrides: Sequence[str], *, config_file: Path | None = None) -> list[str]:
    """Overrides in which the name of prepared data stands for them: `data=clicks` and `data.name=clicks` both choose the
    data that `prep` made under that name, with the recipe of their manifest.
    """
    chosen = data_choice(overrides, config_file=config_file)
    name = chosen.name or chosen.group
    if name is None or chosen.group in offered("data"):
        return list(overrides)
    manifest = existing(chosen.root / name)
    if manifest is None:
        if chosen.group is not None and chosen.name is None:
            raise UsageError(
                f"data={name}: no data set of this name is prepared in {chosen.root} or packaged",
                hint=f"{_prepared_beside(chosen.root / name)}; packaged are {', '.join(offered('data'))}",
            )
        return list(overrides)
    others = [own for own in overrides if own.partition("=")[0] not in ("data", "data.name")]
    return [*words_of(name, manifest.recipe), *others]


def ensure_prepared(job: PrepJob, progress: Progress | None = None) -> PrepReport:
    """The prepared data of a job, which are prepared only where there are none of that name. Never replaces any.

    Complete data are read without a lock and without writing beside them, so they may lie in a read-only folder.

    Raises:
        UsageError: the data were prepared with another recipe, other settings, or other raw files.
        DataError: they are to be prepared, and the raw files cannot be used.
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
                f"and this command asks for {word(f'data.{key}', value)}",
                hint="data.name=NAME keeps both; adasparse prep with the same settings and --replace replaces the data",
            )
    if job.raw_named and job.raw and (differs := _another_source(manifest, job.raw)):
        raise UsageError(
            f"{job.folder} was not prepared from {differs}",
            hint="leave raw= out to use the prepared data; adasparse prep with --replace prepares them anew",
        )
    for path in changed_sources(manifest, job.raw):
        if job.raw_named:
            raise UsageError(
                f"{path} has changed since {job.folder} was prepared from it",
                hint="leave raw= out to use the prepared data; adasparse prep with --replace prepares them anew",
            )
        progress.note(f"{path} has changed since {job.folder} was prepared from it; the prepared data are used")
    return PrepReport(folder=job.folder, manifest=manifest, fresh=False, elapsed_seconds=0.0)


def run_prep(job: PrepJob, progress: Progress | None = None, *, replace: bool = False) -> PrepReport:
    """Prepare the data unless they are there already, made from the same files with the same settings.

    Args:
        replace: whether data that runs depend on may be replaced.

    Raises:
        DataError: the raw files cannot be used.
        UsageError: the data's folder holds other things, or one of the raw files, or data that runs depend on.
        BusyError: another process prepares the same data.
    """
    progress, started = progress or Silent(), time.monotonic()
    values = plain(job.settings)
    if (manifest := existing(job.folder)) is not None and is_current(manifest, values, job.raw):
        return _up_to_date(job, manifest)
    job.folder.parent.mkdir(parents=True, exist_ok=True)
    recover(job.folder)  # takes the lock itself
    with only_owner(owner_folder(job.folder)):
        # another process may have prepared them in the meantime
        manifest = existing(job.folder)
        if manifest is not None and is_current(manifest, values, job.raw):
            return _up_to_date(job, manifest)
        _require_sources(job)
        _require_place(job, ours=manifest is not None)
        if manifest is not None:
            stale = [] if job.runs is None else runs_on(job.runs, manifest)
            if stale and not replace:
                _refuse_to_replace(job, manifest, values, stale)
            progress.note(f"{job.folder} was prepared from other files or settings: it is replaced")
            if stale:
                progress.note(f"stale from now on, since they were trained on the replaced data: {_listed(stale)}")
        manifest = _prepared(job, values, progress)
        rejects_of_a_failed_try(job.folder.parent, job.settings.name).unlink(missing_ok=True)
    return PrepReport(folder=job.folder, manifest=manifest, fresh=True, elapsed_seconds=time.monotonic() - started)


def _prepared(job: PrepJob, values: Mapping[str, Any], progress: Progress) -> Manifest:
    from adasparse_cli.prep.prepare import prepare  # loads polars, which plans do without

    if job.engine.engine is PrepEngine.local:
        return prepare(job.settings, values, list(job.raw), job.folder, progress)
    from adasparse_cli.prep.spark import SparkEngine

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
    """Look at the raw files and write nothing that stays.

    Raises:
        UsageError: another engine is asked for.
    """
    from adasparse_cli.prep.inspect import inspect  # loads polars, which plans do without

    if job.engine.engine is not PrepEngine.local:
        raise UsageError(
            "--inspect reads the raw files in one process, not on Spark",
            hint="leave prep.engine out; inspect some files",
        )
    _require_sources(job)
    return inspect(job.settings, job.raw, progress or Silent())


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


def _up_to_date(job: PrepJob, manifest: Manifest) -> PrepReport:
    with contextlib.suppress(OSError):  # of no use any more; a folder that cannot be written to keeps it
        rejects_of_a_failed_try(job.folder.parent, job.settings.name).unlink(missing_ok=True)
    return PrepReport(folder=job.folder, manifest=manifest, fresh=False, elapsed_seconds=0.0)


def _refuse_to_replace(job: PrepJob, manifest: Manifest, values: Mapping[str, Any], stale: Sequence[Path]) -> None:
    made = as_today(manifest)
    differing = [key for key, value in values.items() if value != made.get(key)]
    what = (
        f"{word(f'data.{differing[0]}', made.get(differing[0]))}, not {word(f'data.{differing[0]}', values[differing[0]])}"
        if differing
        else f"{_another_source(manifest, job.raw) or 'raw files'} as it was before"
    )
    raise UsageError(
        f"{job.folder} was prepared with {what}; replacing it makes {len(stale)} "
        f"run{'s' * (len(stale) != 1)} stale: {_listed(stale)}",
        hint="add --replace to replace the data all the same, or data.name=NAME to keep both",
    )


def _listed(runs: Sequence[Path], most: int = 5) -> str:
    more = f" and {len(runs) - most} more" if len(runs) > most else ""
    return ", ".join(map(str, runs[:most])) + more


def _another_source(manifest: Manifest, raw: Sequence[Path]) -> Path | None:
    """The first of these files that the data were not made from, or were not made from as it is now."""
    known = [source.path for source in manifest.sources]
    if [str(path.resolve()) for path in raw] == known:
        return None
    return next((path for path in raw if str(path.resolve()) not in known), raw[0] if raw else None)


def _require_recipe(folder: Path, manifest: Manifest, recipe: str) -> None:
    if manifest.recipe != recipe:
        raise UsageError(
            f"{folder} was prepared with the recipe {manifest.recipe}, and this command asks for the recipe {recipe}",
            hint=f"{shlex.join(shortest_words(folder.name, manifest.recipe))} uses these data; data.name=NAME makes others",
        )


def _prepared_beside(folder: Path) -> str:
    there = sorted(path.parent.name for path in folder.parent.glob(f"[!.]*/{MANIFEST}"))
    if not there:
        return "adasparse prep data=tabular raw=FILE … prepares a table"
    return f"prepared are {nearest_names(folder.name, there)}"


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
