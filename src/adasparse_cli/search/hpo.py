"""Search settings with Optuna, by a metric of the valid split.

A trial is a set of settings. Its value is the mean over seeds of a metric of the valid split, never of the test split.
Finished trials are stored in the folder of the study. A proposal depends only on earlier trials and on the seed, so an
interrupted search resumes with the same proposals. Runs are shared with other commands, so no run is trained twice.

trials.json    settings and value of each trial, with a checksum; written after each trial
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from adasparse_cli.catalogue.verify import verify_planned, verify_run
from adasparse_cli.choices import Metric, Split
from adasparse_cli.cluster.settings import without_launcher
from adasparse_cli.config.grammar import Choice, Interval, search_space
from adasparse_cli.errors import DataError, IntegrityError, UsageError
from adasparse_cli.execution.best_so_far import BestSoFar
from adasparse_cli.execution.cluster_runs import require_launcher
from adasparse_cli.execution.named_run import NamedRun
from adasparse_cli.execution.workers import train_all
from adasparse_cli.files import only_owner, read_sealed, write_sealed
from adasparse_cli.findings.finding import Finding, Support, Table
from adasparse_cli.findings.kept import write_finding
from adasparse_cli.findings.wording import mean_or_none
from adasparse_cli.prep.recipe import Progress, Silent
from adasparse_cli.runs.prepare import ensure_prepared, existing
from adasparse_cli.runs.saved_run import read_report
from adasparse_cli.runs.train import finished_run
from adasparse_cli.runs.train_job import TrainJob, plan_seeds
from adasparse_cli.schema import Manifest

TRIALS = "trials.json"
TRIALS_VERSION = 1
# File of trials of earlier versions, without a checksum.
_DATABASE = "trials.db"


@dataclass(frozen=True, kw_only=True)
class SearchJob:
    """The plan of a search.

    Args:
        words: settings that all trials share.
        space: possible values by key.
        trials: total number of trials.
        metric: metric of the valid split to optimise.
        first: a run of the search; all runs use its data.
    """

    words: tuple[str, ...]
    space: Mapping[str, Choice | Interval]
    trials: int
    seeds: int
    metric: Metric
    folder: Path
    config_file: Path | None
    first: TrainJob


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A finished trial.

    Args:
        value: mean of the metric over seeds; None if a run failed or the metric is not available.
    """

    settings: Mapping[str, Any]
    value: float | None


def plan_search(
    words: Sequence[str], *, trials: int, seeds: int, metric: Metric, config_file: Path | None = None
) -> SearchJob:
    """Plan a search from settings in Hydra's sweep grammar.

    Raises:
        UsageError: no setting has several values, or a setting is invalid.
    """
    common, space = search_space(words)
    if not space:
        raise UsageError(
            "no setting to search: none has several values",
            hint="for example: adasparse hpo 'loop.learning_rate=interval(0.0005,0.005)' model=star",
        )
    of_data = next((key for key in space if key == "raw" or key.split(".")[0] == "data"), None)
    if of_data is not None:
        raise UsageError(
            f"{of_data} has several values, but a search uses one data set",
            hint="run one search per data set; adasparse analyze domains compares domain definitions",
        )
    common = common if any(word.startswith("threads=") for word in common) else [*common, "threads=1"]
    first = plan_seeds(
        [*common, *(f"{key}={_first(kind)}" for key, kind in space.items())], seeds, config_file=config_file
    )[0]
    told = json.dumps(
        [sorted(without_launcher(common)), {key: repr(kind) for key, kind in space.items()}, seeds, metric.value]
    )
    name = f"hpo-{first.data.settings.name}-{hashlib.sha256(told.encode()).hexdigest()[:8]}"
    return SearchJob(
        words=tuple(common),
        space=space,
        trials=trials,
        seeds=seeds,
        metric=metric,
        folder=Path(first.config["paths"]["studies"]) / name,
        config_file=config_file,
        first=first,
    )


def run_search(
    job: SearchJob, progress: Progress | None = None, *, workers: int = 1, verify: bool = False
) -> tuple[Finding, Path]:
    """Run trials until the requested number is reached.

    Args:
        verify: whether to verify the checksums of the data before, and of the runs of each trial.

    Raises:
        UsageError: Optuna is not installed.
        InterruptedRun: the search was stopped; the same command resumes the current trial.
        DataError: no trial has a result.
        IntegrityError: the file of trials is damaged.
    """
    try:
        import optuna
    except ImportError:
        raise UsageError(
            "adasparse hpo needs the package optuna, which is not installed",
            hint="python -m pip install 'adasparse-cli[hpo]'; adasparse sweep works without it",
        ) from None
    progress = progress or Silent()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    require_launcher(job.first, workers)  # fails before data are prepared
    job.folder.mkdir(parents=True, exist_ok=True)
    if verify:
        verify_planned([job.first])
    with only_owner(job.folder):
        trials = read_trials(job.folder)
        if not trials and (earlier := job.folder / _DATABASE).exists():
            progress.note(
                f"{earlier} of an earlier version is not read; its trials are proposed again and reuse their finished runs"
            )
        distributions = {key: _distribution(optuna, kind) for key, kind in job.space.items()}
        study = optuna.create_study(direction="minimize" if job.metric is Metric.log_loss else "maximize")
        for ended in trials:
            if verify:
                _verify_trial(job, ended)
            study.add_trial(_known(optuna, ended, distributions, job.folder))
        best = BestSoFar(job.metric)
        for number, ended in enumerate(trials):
            best.add(f"trial {number}", ended.value)
        while len(trials) < job.trials:
            study.sampler = optuna.samplers.TPESampler(seed=len(trials), n_startup_trials=max(4, len(job.space) * 2))
            trial = study.ask(distributions)
            value = _worth(job, trial.params, len(trials), progress, workers)
            study.tell(trial, value, state=_state(optuna, value))
            tried = _tried(trial.params)
            name = f"trial {len(trials)}"
            seed = job.first.seed if job.seeds == 1 else None
            after = f"  of {job.trials} trials: {tried}"
            best.report(progress, name, value, arm=name, seed=seed, setting=tried, after=after)
            trials.append(Trial(settings=trial.params, value=value))
            if verify:
                _verify_trial(job, trials[-1])
            write_trials(job.folder, trials)
        finding = _finding(job, study, optuna, existing(job.first.data.folder))
        return finding, write_finding(finding, job.folder)


def read_trials(folder: Path) -> list[Trial]:
    """The finished trials of a search, in order.

    Raises:
        IntegrityError: the file is damaged.
    """
    path = folder / TRIALS
    if not path.exists():
        return []
    try:
        content = read_sealed(path, "trials_version", unsealed=None)
        version = content["trials_version"]
        if version != TRIALS_VERSION:
            raise _damaged(f"{path} has format {version}; this version reads format {TRIALS_VERSION}")
        return [
            Trial(settings=dict(trial["settings"]), value=None if trial["value"] is None else float(trial["value"]))
            for trial in content["trials"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(f"{path} is damaged: {error!r:.200}") from None
    except IntegrityError as error:
        raise _damaged(error.message) from None


def write_trials(folder: Path, trials: Sequence[Trial]) -> None:
    """Write the finished trials."""
    write_sealed(folder / TRIALS, {"trials_version": TRIALS_VERSION, "trials": [asdict(trial) for trial in trials]})


def _damaged(message: str) -> IntegrityError:
    return IntegrityError(message, hint="remove the file and run the same command again; finished runs are reused")


def _known(optuna: Any, ended: Trial, distributions: Mapping[str, Any], folder: Path) -> Any:
    """A finished trial as an Optuna trial."""
    try:
        return optuna.trial.create_trial(
            state=_state(optuna, ended.value),
            value=ended.value,
            params=dict(ended.settings),
            distributions=dict(distributions),
        )
    except (ValueError, TypeError, KeyError) as error:
        raise _damaged(f"{folder / TRIALS} is damaged: {error!r:.200}") from None


def _state(optuna: Any, value: float | None) -> Any:
    return optuna.trial.TrialState.PRUNED if value is None else optuna.trial.TrialState.COMPLETE


def _worth(job: SearchJob, values: Mapping[str, Any], number: int, progress: Progress, workers: int) -> float | None:
    """The mean validation metric of a trial over seeds; None if a run failed."""
    jobs = _jobs_of(job, values)
    prepared = ensure_prepared(jobs[0].data, progress)
    runs = [
        NamedRun(name=f"trial {number}, seed {own.seed}", job=own, prepared=prepared, setting=_tried(values))
        for own in jobs
    ]
    left = [run for run in runs if finished_run(run.job, prepared) is None]
    each = BestSoFar(job.metric, comparable=False) if job.seeds > 1 else None
    train_all(left, progress, workers=workers, what=f"trial {number + 1} of {job.trials}", best=each)
    done = [finished_run(own, prepared) for own in jobs]
    return mean_or_none([None if run is None else read_report(run)["metrics"]["valid"][job.metric] for run in done])


def _tried(values: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={value}" for key, value in values.items())


def _jobs_of(job: SearchJob, values: Mapping[str, Any]) -> list[TrainJob]:
    """The runs of a trial."""
    words = [f"{key}={value}" for key, value in values.items()]
    groups = [word for word in words if "." not in word.partition("=")[0]]
    keys = [word for word in words if word not in groups]
    return plan_seeds([*groups, *job.words, *keys], job.seeds, config_file=job.config_file)


def _verify_trial(job: SearchJob, trial: Trial) -> None:
    """Verify the checksums of a trial's runs."""
    for own in _jobs_of(job, trial.settings):
        run = finished_run(own, ensure_prepared(own.data))
        if run is not None:
            verify_run(run)


def _finding(job: SearchJob, study: Any, optuna: Any, manifest: Manifest | None) -> Finding:
    trials = [trial for trial in study.get_trials(deepcopy=False) if trial.state is optuna.trial.TrialState.COMPLETE]
    if not trials:
        raise DataError(
            f"no trial has a valid {job.metric}",
            hint="either all runs failed, as printed above, or the metric is not available on the valid split; "
            "--metric log_loss is always available",
        )
    sign = 1 if job.metric is Metric.log_loss else -1
    ordered = sorted(trials, key=lambda trial: (sign * trial.value, trial.number))
    name = f"valid {job.metric}"
    rows = [{"trial": trial.number, name: float(trial.value), **trial.params} for trial in ordered]
    best = " ".join(f"{key}={value}" for key, value in ordered[0].params.items())
    valid = None if manifest is None else manifest.splits[Split.valid]
    support = None if valid is None else Support(estimates={name: ""}, rows=valid.rows, positives=valid.positives)
    table = Table(name="trials", title="Trials, best first", rows=rows, support=support)
    return Finding(
        name="hpo",
        title="Search of settings",
        question=f"Which values of {', '.join(job.space)} are best by {name}?",
        answers=(
            f"Best of {len(trials)} trials: {best} ({table.text(rows[0], name)}).",
            f"To evaluate it on the test split: `adasparse train {' '.join(job.words)} {best} --seeds 5`",
        ),
        tables=(table,),
        notes=(f"Mean over {job.seeds} seed{'s' * (job.seeds > 1)}. The test split was not used.",),
    )


def _distribution(optuna: Any, kind: Choice | Interval) -> Any:
    if isinstance(kind, Choice):
        return optuna.distributions.CategoricalDistribution(kind.values)
    if kind.whole:
        return optuna.distributions.IntDistribution(int(kind.low), int(kind.high), log=kind.logarithmic)
    return optuna.distributions.FloatDistribution(kind.low, kind.high, log=kind.logarithmic)


def _first(kind: Choice | Interval) -> str:
    return str(kind.values[0]) if isinstance(kind, Choice) else str(int(kind.low) if kind.whole else kind.low)
