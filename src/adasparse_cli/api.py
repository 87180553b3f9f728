"""The Python interface: the commands as functions that return frames and objects.

    import adasparse_cli as ada

    run = ada.train("data=twin", mode="fusion")
    run.metrics["test"]["gauc_domain"]
    ada.load_run("latest").predict(frame)
    run.export("model"); ada.load_artefact("model").predict(frame)

Settings are written as on the command line, `"loop.batch_size=2048"`, or as a mapping, `{"loop.batch_size": 2048}`. Functions
print nothing; `progress=True` shows progress bars on stderr. User errors are `adasparse_cli.errors.AdasparseError`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import polars as pl

from adasparse_cli.catalogue.costs import cache_folder
from adasparse_cli.catalogue.data_list import data_set
from adasparse_cli.catalogue.data_list import list_data as data_rows
from adasparse_cli.catalogue.model_list import listed_models
from adasparse_cli.catalogue.run_list import list_runs as run_rows
from adasparse_cli.config.grammar import with_flags
from adasparse_cli.config.spelling import word
from adasparse_cli.findings.machine import machine_rows
from adasparse_cli.prep.recipe import Progress, Silent
from adasparse_cli.prepared.tables import read_domains, read_split
from adasparse_cli.runs.chosen import choose_run
from adasparse_cli.runs.prepare import plan_prep, run_prep
from adasparse_cli.runs.train import run_train
from adasparse_cli.runs.train_job import model_flags, plan_train
from adasparse_cli.schema import Manifest
from adasparse_cli.scoring.loaded_run import Run
from adasparse_cli.serving.exported_model import ExportedModel, load_artefact
from adasparse_cli.studies.comparison import Comparison, domain_table
from adasparse_cli.studies.plan import StudyJob, plan_compare, plan_experiment, plan_sweep
from adasparse_cli.studies.study import StudyReport, find_study, run_study
from adasparse_cli.studies.study import open_study as study_in
from adasparse_cli.terminal.progress import ProgressDisplay

__all__ = [
    "ExportedModel",
    "PreparedData",
    "Run",
    "Study",
    "compare",
    "list_data",
    "list_models",
    "list_runs",
    "load_artefact",
    "load_data",
    "load_run",
    "load_study",
    "prepare",
    "sweep",
    "train",
]
Settings = Mapping[str, Any]
AnyPath = str | PathLike[str]


@dataclass(frozen=True)
class PreparedData:
    """A prepared data set.

    Args:
        folder: its path. manifest: its splits, fields, sources and fingerprint.
    """

    folder: Path
    manifest: Manifest

    @property
    def name(self) -> str:
        """The name in `data=NAME`."""
        return self.manifest.name

    @property
    def domains(self) -> pl.DataFrame:
        """One row per domain: its key, and its rows and positives by split."""
        return read_domains(self.folder, self.manifest)

    def split(self, name: str) -> pl.DataFrame:
        """The encoded rows of `train`, `valid` or `test`: an id per field, `__domain`, `__label`, and the position of the raw row."""
        from adasparse_cli.choices import Split

        return read_split(self.folder, self.manifest, Split(name))


@dataclass(frozen=True)
class Study:
    """Arms that were trained with the same seeds on the same data, and their comparison.

    Args:
        folder: of the study. failed: runs without a result, by name, with the reason.
        comparison: reports, test rows and logits of each arm, and the differences from the baseline.
    """

    folder: Path
    question: str
    comparison: Comparison
    failed: Mapping[str, str]

    @property
    def table(self) -> pl.DataFrame:
        """One row per arm: the mean of each metric over seeds, its standard deviation, and its difference from the baseline.

        `…_low` and `…_high` are the ends of the 95 % confidence interval of the difference. `…_p_holm` is corrected for the number
        of arms, `…_real` is whether it is below 0.05, and `…_detectable` is the difference detected with a probability of 80 %.
        """
        return pl.DataFrame(self.comparison.table(), infer_schema_length=None)

    @property
    def domains(self) -> pl.DataFrame:
        """One row per domain: its training and test rows, and each arm's AUC. Not for studies over several worlds."""
        return domain_table(self.comparison)


def prepare(
    *words: str,
    settings: Settings | None = None,
    config_file: AnyPath | None = None,
    replace: bool = False,
    progress: bool = False,
) -> PreparedData:
    """Prepare a data set from raw files, like `adasparse prep`.

    Args:
        words: settings, for example `"data=tabular", "raw=clicks.csv", "data.label=clicked", "data.domain=[site]"`.
        replace: whether prepared data on which runs depend may be replaced.

    Raises:
        UsageError, DataError, ResourceError: as for the command; each names the problem and a remedy.
    """
    job = plan_prep(_words(words, settings), config_file=_path(config_file))
    with _shown(progress) as display:
        report = run_prep(job, display, replace=replace)
    return PreparedData(report.folder, report.manifest)


def train(
    *words: str,
    settings: Settings | None = None,
    mode: str | None = None,
    model: str | None = None,
    config_file: AnyPath | None = None,
    resume: bool = False,
    progress: bool = False,
) -> Run:
    """Train one model, like `adasparse train`. Data that are not prepared yet are prepared first.

    Args:
        words: settings, for example `"data=twin", "loop.batch_size=2048", "seed=1"`.
        resume: whether to continue the newest run with these settings; a finished run is loaded.

    Raises:
        AdasparseError: as for the command.
    """
    flags = {**model_flags(model), "model.mode": mode}
    job = plan_train(with_flags(_words(words, settings), flags), config_file=_path(config_file))
    with _shown(progress) as display:
        report = run_train(job, display, resume=resume)
    studies = Path(str(job.config["paths"]["studies"]))
    chosen = choose_run(str(report.folder), job.runs, studies)
    return Run(chosen, data_root=job.data.folder.parent)


def load_run(
    name: AnyPath = "latest",
    *,
    runs: AnyPath = "runs",
    studies: AnyPath = "studies",
    data: AnyPath = "data",
    unfinished: bool = False,
) -> Run:
    """Load a finished run by its folder, a unique part of its path, `STUDY/ARM`, or `latest`.

    Args:
        unfinished: whether an unfinished run may be loaded, with its best weights so far.

    Raises:
        UsageError: no run matches, or several.
    """
    return Run(choose_run(str(name), Path(runs), Path(studies), unfinished=unfinished), data_root=Path(data))


def load_data(name: str, *, data: AnyPath = "data") -> PreparedData:
    """Load a prepared data set by its name.

    Raises:
        UsageError: there is none with this name.
    """
    return PreparedData(Path(data) / name, data_set(Path(data), name))


def load_study(name: AnyPath = "latest", *, studies: AnyPath = "studies", baseline: str | None = None) -> Study:
    """Load a study by its folder, a part of its name, or `latest`, with its finished runs.

    Raises:
        UsageError: no study matches, or several.
    """
    return _study(study_in(find_study(str(name), Path(studies)), baseline=baseline))


def list_runs(folder: AnyPath = "runs") -> pl.DataFrame:
    """All runs, the oldest first, with their state, settings and metrics."""
    return pl.DataFrame(machine_rows(run_rows(Path(folder))), infer_schema_length=None)


def list_data(folder: AnyPath = "data") -> pl.DataFrame:
    """All prepared data sets."""
    return pl.DataFrame(machine_rows(data_rows(Path(folder))), infer_schema_length=None)


def list_models(on: str | None = None, *, data: AnyPath = "data") -> pl.DataFrame:
    """The models that can be trained, with their settings, parameters and multiply-adds per row.

    Args:
        on: prepared data set for which the costs are computed; without it, 21 example fields.
    """
    return pl.DataFrame(machine_rows(listed_models(Path(data), on, cache_folder())), infer_schema_length=None)


def compare(
    *words: str,
    settings: Settings | None = None,
    models: Sequence[str] = (),
    experiment: str | None = None,
    baseline: str | None = None,
    seeds: int | None = None,
    worlds: Sequence[int] = (),
    workers: int = 1,
    cluster: str = "domain",
    config_file: AnyPath | None = None,
    progress: bool = False,
) -> Study:
    """Train models with the same seeds on the same data and compare them, like `adasparse compare`.

    Existing runs are reused, and the same call continues an interrupted study. Runs are separate processes,
    so call this function below `if __name__ == "__main__":` in a script.

    Args:
        models: names; all models if empty. experiment: a named study instead, for example `ablation`.
        seeds: number of seeds per arm; 3, or the number in the experiment. workers: number of parallel runs.
        cluster: `domain` or `user`, the unit by which test rows are resampled.

    Raises:
        AdasparseError: as for the command.
    """
    own, file = _words(words, settings), _path(config_file)
    job = (
        plan_compare(list(models), own, seeds=seeds or 3, baseline=baseline, config_file=file, worlds=tuple(worlds))
        if experiment is None
        else plan_experiment(experiment, own, seeds=seeds, baseline=baseline, config_file=file, worlds=tuple(worlds))
    )
    return _done(job, workers=workers, cluster=cluster, progress=progress)


def sweep(
    *words: str,
    settings: Settings | None = None,
    seeds: int = 1,
    workers: int = 1,
    config_file: AnyPath | None = None,
    progress: bool = False,
) -> Study:
    """Train every combination of values, `"loop.learning_rate=0.001,0.002"`, like `adasparse sweep`."""
    job = plan_sweep(_words(words, settings), seeds=seeds, config_file=_path(config_file))
    return _done(job, workers=workers, cluster="domain", progress=progress)


def _done(job: StudyJob, *, workers: int, cluster: str, progress: bool) -> Study:
    with _shown(progress) as display:
        return _study(run_study(job, display, workers=workers, cluster=cluster))


def _study(report: StudyReport) -> Study:
    return Study(report.folder, report.question, report.comparison, report.failed)


def _words(words: Sequence[str], settings: Settings | None) -> list[str]:
    """Settings as overrides. A list becomes [a,b], so a mapping never requests a grid by accident."""
    return [
        *words,
        *(word(key, list(value) if isinstance(value, tuple) else value) for key, value in (settings or {}).items()),
    ]


def _path(path: AnyPath | None) -> Path | None:
    return None if path is None else Path(path)


@contextlib.contextmanager
def _shown(progress: bool) -> Iterator[Progress]:
    if not progress:
        yield Silent()
        return
    with ProgressDisplay() as display:
        yield display
