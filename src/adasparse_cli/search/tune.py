"""Search the settings of every model with the same budget, one setting of conf/search at a time, on the valid split only.

A search has no state besides its runs: the same command asks the same questions, and finished runs answer them. Runs are
shared with other commands, so no run is trained twice.

findings/tune/              the finding
experiment/tuned-DATA.yaml  a named study of all models with their best settings, for `adasparse --config-dir FOLDER compare`
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adasparse_cli.catalogue.verify import verify_planned, verify_run
from adasparse_cli.choices import Metric, Split
from adasparse_cli.cluster.settings import without_launcher
from adasparse_cli.config.compose import explicit_keys
from adasparse_cli.config.spelling import leaves, word
from adasparse_cli.errors import DataError, UsageError
from adasparse_cli.execution.best_so_far import BestSoFar
from adasparse_cli.execution.cluster_runs import require_launcher
from adasparse_cli.execution.named_run import NamedRun
from adasparse_cli.execution.workers import train_all
from adasparse_cli.files import only_owner, write_text
from adasparse_cli.findings.finding import Finding, Support, Table
from adasparse_cli.findings.kept import write_finding
from adasparse_cli.findings.wording import counted, mean_or_none
from adasparse_cli.prep.recipe import Progress, Silent
from adasparse_cli.runs.prepare import PrepReport, ensure_prepared
from adasparse_cli.runs.saved_run import read_report
from adasparse_cli.runs.train import finished_run
from adasparse_cli.runs.train_job import TrainJob, model_flags, plan_seeds
from adasparse_cli.search.coordinate import Answers, Found, Questions, coordinate_search
from adasparse_cli.search.search_space import space_of
from adasparse_cli.studies.plan import named_models
from adasparse_cli.typed import to_yaml

EXPERIMENTS = "experiment"


@dataclass(frozen=True, kw_only=True)
class ModelSearch:
    """The search of one model.

    Args:
        words: settings that select the model, the same in all trials.
        space: values to try by key.
        start: packaged values by key.
    """

    name: str
    words: tuple[str, ...]
    space: Mapping[str, Sequence[Any]]
    start: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class TuneJob:
    """Searches with the same budget on the same data.

    Args:
        trials: maximum number of trials per model.
        least_gain: minimum gain of the metric for which a setting is changed.
        first: a run of the searches; all runs use its data.
    """

    searches: tuple[ModelSearch, ...]
    common: tuple[str, ...]
    trials: int
    seeds: int
    metric: Metric
    least_gain: float
    folder: Path
    config_file: Path | None
    first: TrainJob


def plan_tune(
    models: Sequence[str],
    words: Sequence[str],
    *,
    trials: int,
    seeds: int,
    metric: Metric,
    least_gain: float,
    config_file: Path | None = None,
) -> TuneJob:
    """Searches for the named models, or for all models. Settings in `words` are fixed and not searched.

    Raises:
        UsageError: a model is unknown, a setting is invalid, or conf/search has a setting that the model lacks.
    """
    of_model = next((one for one in words if one.startswith("model")), None)
    if of_model is not None:
        raise UsageError(
            f"{of_model} would apply to every model",
            hint="--models selects models; DIR/search/MODEL.yaml with --config-dir DIR changes the search of one model",
        )
    common = list(words) if any(one.startswith("threads=") for one in words) else [*words, "threads=1"]
    fixed = explicit_keys(words, config_file=config_file)
    searches: list[ModelSearch] = []
    jobs: list[TrainJob] = []
    for name in named_models(models):
        own = (*(f"{key}={value}" for key, value in model_flags(name).items() if value is not None),)
        jobs.append(plan_seeds([*own, *common], 1, config_file=config_file)[0])
        config = {section: jobs[-1].config[section] for section in ("network", "model", "loop")}
        space = {key: values for key, values in space_of(name, config).items() if key not in fixed}
        known = dict(leaves(config))
        searches.append(ModelSearch(name=name, words=own, space=space, start={key: known[key] for key in space}))
    told = json.dumps(
        [
            sorted(without_launcher(common)),
            {one.name: [one.words, one.space] for one in searches},
            trials,
            seeds,
            metric.value,
            least_gain,
        ],
        default=str,
    )
    name = f"tune-{jobs[0].data.settings.name}-{hashlib.sha256(told.encode()).hexdigest()[:8]}"
    return TuneJob(
        searches=tuple(searches),
        common=tuple(common),
        trials=trials,
        seeds=seeds,
        metric=metric,
        least_gain=least_gain,
        folder=Path(jobs[0].config["paths"]["studies"]) / name,
        config_file=config_file,
        first=jobs[0],
    )


def run_tune(
    job: TuneJob, progress: Progress | None = None, *, workers: int = 1, verify: bool = False
) -> tuple[Finding, Path]:
    """Search all models together. Each round trains the next runs of every search.

    Args:
        verify: whether to verify the checksums of the data before, and of the runs of each trial.

    Raises:
        InterruptedRun: the search was stopped; unfinished runs are saved, and the same command resumes.
        DataError: no trial of any model has a result.
    """
    progress = progress or Silent()
    require_launcher(job.first, workers)  # before data are prepared
    job.folder.mkdir(parents=True, exist_ok=True)
    if verify:
        verify_planned([job.first])
    with only_owner(job.folder):
        prepared = ensure_prepared(job.first.data, progress)
        open_searches = [_OpenSearch(job, search) for search in job.searches]
        number, reported = 0, False
        while active := [search for search in open_searches if search.questions]:
            number += 1
            runs = [run for search in active for run in search.missing(prepared)]
            what, unit = f"round {number}, {counted(len(active), 'model')}", f"runs of round {number}"
            best = {search.search.name: search.best_run for search in active}
            known = sum(search.known for search in open_searches)
            if runs and known and not reported:
                progress.note(f"finished before: {counted(known, 'trial')}")
            reported = reported or bool(runs)
            train_all(runs, progress, workers=workers, what=what, best=best, unit=unit)
            for search in active:
                search.answer(prepared, progress, verify=verify)
        return _write(job, open_searches, prepared)


class _OpenSearch:
    """A running search: its current questions, and the jobs of each question.

    With one seed, `best_run` reports each run as it ends, and a run is a trial. With several seeds, it reports the runs
    without a best value, and `answer` reports the mean of each trial.
    """

    def __init__(self, job: TuneJob, search: ModelSearch) -> None:
        self.job, self.search = job, search
        self.found: Found | None = None
        self._asking: Generator[Questions, Answers, Found] = coordinate_search(
            search.space, search.start, budget=job.trials, least_gain=job.least_gain
        )
        self.questions: Questions = next(self._asking)
        self._trained: list[bool] = []
        self._best_trial = BestSoFar(job.metric, among=search.name)
        self.best_run = self._best_trial if job.seeds == 1 else BestSoFar(job.metric, comparable=False)
        self.known = 0  # trials that need no training, because their runs are finished

    def missing(self, prepared: PrepReport) -> list[NamedRun]:
        """The runs that the current questions still need."""
        missing: list[NamedRun] = []
        self._trained = []
        for settings in self.questions:
            runs = [self._named(settings, own, prepared) for own in self._jobs(settings)]
            left = [run for run in runs if finished_run(run.job, prepared) is None]
            missing += left
            self._trained.append(bool(left))
            if not left:
                self.known += 1
                self._best_trial.add(self._trial(settings), self._value(settings, prepared))
        return missing

    def answer(self, prepared: PrepReport, progress: Progress, *, verify: bool) -> None:
        """Answer the current questions with the finished runs, and advance the search. Report new trials of several seeds."""
        answers: list[float | None] = []
        for settings, trained in zip(self.questions, self._trained, strict=True):
            value = self._value(settings, prepared, verify=verify)
            answers.append(None if value is None else self._sign * value)
            if trained and self.job.seeds > 1:
                name, model = self._trial(settings), self.search.name
                after = f"  mean of {self.job.seeds} seeds"
                self._best_trial.report(
                    progress, name, value, arm=model, seed=None, setting=self._changed(settings), after=after
                )
        try:
            self.questions = self._asking.send(answers)
        except StopIteration as ended:
            self.found, self.questions = ended.value, []

    def _named(self, settings: Mapping[str, Any], job: TrainJob, prepared: PrepReport) -> NamedRun:
        changed = self._changed(settings)
        return NamedRun(
            name=f"{self.search.name} {changed}, seed {job.seed}", job=job, prepared=prepared, setting=changed
        )

    def _trial(self, settings: Mapping[str, Any]) -> str:
        return f"{self.search.name} {self._changed(settings)}"

    @property
    def _sign(self) -> int:
        return -1 if self.job.metric is Metric.log_loss else 1

    def _changed(self, settings: Mapping[str, Any]) -> str:
        return " ".join(changed_words(self.search, settings)) or "packaged settings"

    def _jobs(self, settings: Mapping[str, Any]) -> list[TrainJob]:
        words = [*self.search.words, *self.job.common, *changed_words(self.search, settings)]
        return plan_seeds(words, self.job.seeds, config_file=self.job.config_file)

    def _value(self, settings: Mapping[str, Any], prepared: PrepReport, *, verify: bool = False) -> float | None:
        """The mean of the metric on the valid split over seeds; None if a run failed."""
        runs = [finished_run(own, prepared) for own in self._jobs(settings)]
        if verify:
            for run in runs:
                if run is not None:
                    verify_run(run)
        return mean_or_none(
            [None if run is None else read_report(run)["metrics"]["valid"][self.job.metric] for run in runs]
        )


def changed_words(search: ModelSearch, settings: Mapping[str, Any]) -> list[str]:
    """The settings that differ from the packaged ones, as `key=value`."""
    return [word(key, value) for key, value in settings.items() if value != search.start[key]]


def _write(job: TuneJob, searches: Sequence[_OpenSearch], prepared: PrepReport) -> tuple[Finding, Path]:
    found = {one.search.name: (one.search, one.found) for one in searches if one.found is not None}
    usable = {name: pair for name, pair in found.items() if pair[1].best_worth is not None}
    if not usable:
        raise DataError(
            f"no trial has a valid {job.metric}",
            hint="either all runs failed, as printed above, or the metric is not available on the valid split; "
            "--metric log_loss is always available",
        )
    sign, data = (-1 if job.metric is Metric.log_loss else 1), job.first.data.settings.name
    name = f"tuned-{data}"
    (job.folder / EXPERIMENTS).mkdir(exist_ok=True)
    write_text(job.folder / EXPERIMENTS / f"{name}.yaml", _experiment(job, usable, data))
    start, best = f"valid {job.metric}, packaged", f"valid {job.metric}, best"
    rows: list[dict[str, Any]] = [
        {
            "model": model,
            "trials": one.trials,
            start: None if one.start_worth is None else sign * one.start_worth,
            best: None if one.best_worth is None else sign * one.best_worth,
            "changed settings": " ".join(changed_words(search, one.best)) or "none",
            "best value at the end of its list": ", ".join(one.at_edge) or "none",
            "search complete": one.complete,
        }
        for model, (search, one) in found.items()
    ]
    rows.sort(key=lambda row: (row[best] is None, -sign * (row[best] or 0.0)))
    split = prepared.manifest.splits[Split.valid]
    support = Support(estimates={start: "", best: ""}, rows=split.rows, positives=split.positives)
    table = Table(name="models", title="Models, best first", rows=rows, support=support)
    edges = [
        f"{row['model']} ({row['best value at the end of its list']})"
        for row in rows
        if row["best value at the end of its list"] != "none"
    ]
    spent = [row["model"] for row in rows if not row["search complete"]]
    answers = [
        f"Best by valid {job.metric}: {rows[0]['model']} with {table.text(rows[0], best)}.",
        *([f"Values outside the list may be better for {'; '.join(edges)}."] if edges else []),
        *([f"Stopped by the budget of {counted(job.trials, 'trial')}: {', '.join(spent)}."] if spent else []),
        f"To compare them on the test split: `adasparse --config-dir {job.folder} compare --experiment {name} {' '.join(job.common)}`",
    ]
    finding = Finding(
        name="tune",
        title="Search of every model with the same budget",
        question=f"Which settings are best for each model by valid {job.metric}?",
        answers=tuple(answers),
        tables=(table,),
        notes=(
            f"Coordinate search from the packaged values, with at most {counted(job.trials, 'trial')} per model and "
            f"{counted(job.seeds, 'seed')} per trial. A value is changed for a gain of {job.least_gain} or more. "
            "The test split was not used.",
        ),
    )
    return finding, write_finding(finding, job.folder)


def _experiment(job: TuneJob, found: Mapping[str, tuple[ModelSearch, Found]], data: str) -> str:
    """The YAML of a named study of all models with their best settings."""
    values = {
        "title": f"All models, tuned on {data}",
        "question": "Which tuned models are better than the baseline?",
        "baseline": "dnn" if "dnn" in found else next(iter(found)),
        "seeds": 3,
        "arms": {name: [*search.words, *changed_words(search, one.best)] for name, (search, one) in found.items()},
    }
    return (
        f"# Written by adasparse tune in {job.folder.name}; settings chosen by valid {job.metric}.\n{to_yaml(values)}"
    )
