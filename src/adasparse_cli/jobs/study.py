"""A study: many runs as one object, planned, resumable, compared with the right statistics.

The same words make the same study. What it needs and finds done (by itself or by `train`) is taken as it
stands, what was interrupted goes on, what is missing is trained; nothing is trained twice.

study.json    what is compared, and where its runs lie; written when the study starts and when it ends
table.json    the table of `Comparison.table`
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from adasparse_cli.choices import Between, nearest
from adasparse_cli.config import choices_in, compose, expanded
from adasparse_cli.errors import DataError, IntegrityError, UsageError
from adasparse_cli.files import only_owner, read_json, write_json
from adasparse_cli.jobs.comparison import Arm, Comparison, compare_arms
from adasparse_cli.jobs.forecast import expected_seconds
from adasparse_cli.jobs.prepare import PrepReport, existing, require_learnable, run_prep
from adasparse_cli.jobs.run_folder import DONE, latest_alike, same_run
from adasparse_cli.jobs.train import TrainJob, finished_run, model_flags, plan_seeds
from adasparse_cli.jobs.workers import NamedRun, train_all
from adasparse_cli.models import MODELS
from adasparse_cli.prep.recipe import Progress, Silent, nearest_names
from adasparse_cli.training.loops import LOOPS
from adasparse_cli.typed import flat, plain, typed

STUDY_VERSION = 2
STUDY, TABLE = "study.json", "table.json"


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A named study of conf/experiment: the question it asks, and its arms.

    Args:
        baseline: the arm that differences are taken to.
        seeds: how many, unless the command says otherwise.
        arms: by name, the words that set an arm apart.
    """

    title: str
    question: str
    baseline: str
    seeds: Annotated[int, Between(1)]
    arms: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class PlannedArm:
    """An arm to be: its name, the words that set it apart, a job per seed."""

    name: str
    words: tuple[str, ...]
    jobs: tuple[TrainJob, ...]


@dataclass(frozen=True, kw_only=True)
class StudyJob:
    """Arms with the same seeds on the same data, compared with the arm named `baseline`."""

    name: str
    title: str
    question: str
    folder: Path
    arms: tuple[PlannedArm, ...]
    baseline: str

    @property
    def seeds(self) -> list[int]:
        """The seeds of every arm."""
        return [job.seed for job in self.arms[0].jobs]


@dataclass(frozen=True, kw_only=True)
class StudyReport:
    """What a study found; `failed` names runs that ended without a result, with why."""

    folder: Path
    title: str
    question: str
    comparison: Comparison
    failed: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """A run of a plan.

    Args:
        state: done, unfinished or missing.
        seconds: what it will take from its start on; None if unknown.
        known: whether a run like it says so; else it is a guess from the machine's speed.
    """

    arm: str
    seed: int
    state: str
    seconds: float | None
    known: bool


def plan_compare(
    models: Sequence[str], words: Sequence[str], *, seeds: int, baseline: str | None, config_file: Path | None = None
) -> StudyJob:
    """Whole models against one another; all of them if none is named.

    Raises:
        UsageError: a name is of no model.
    """
    known = sorted({*MODELS, *LOOPS} - {"standard"})
    for name in models:
        if name not in known:
            close = nearest(name, known)
            hint = f"did you mean {close}?" if close else f"there are {', '.join(known)}"
            raise UsageError(f"there is no model {name!r}", hint=hint)
    named = {name: _spelled(model_flags(name)) for name in dict.fromkeys(models or known)}
    base = baseline or ("dnn" if "dnn" in named else next(iter(named)))
    experiment = Experiment(
        title=f"Models: {', '.join(named)}",
        question=f"Which models are better than {base}?",
        baseline=base,
        seeds=seeds,
        arms=named,
    )
    return plan_study("compare", experiment, words, seeds=seeds, config_file=config_file)


def plan_experiment(
    name: str,
    words: Sequence[str],
    *,
    seeds: int | None = None,
    baseline: str | None = None,
    config_file: Path | None = None,
) -> StudyJob:
    """A named study, such as `ablation`.

    Raises:
        UsageError: there is none of that name, or a word cannot be used.
    """
    known = choices_in("experiment")
    if name not in known:
        raise UsageError(f"there is no experiment {name!r}", hint=f"there are {nearest_names(name, known)}")
    found = typed(compose(f"experiment/{name}", [])["experiment"], Experiment, f"experiment {name}")
    if baseline is not None:
        found = Experiment(**{**vars(found), "baseline": baseline})
    return plan_study(name, found, words, seeds=seeds or found.seeds, config_file=config_file)


def plan_sweep(words: Sequence[str], *, seeds: int, config_file: Path | None = None) -> StudyJob:
    """Every combination of the values that words name, such as loop.learning_rate=0.001,0.002; the first is the baseline.

    Raises:
        UsageError: no word names several values, or a key or a value is there twice.
    """
    common, grid = expanded(words)
    _require_once(words, common, grid)
    if len(grid) < 2:
        raise UsageError(
            "no setting has several values", hint="such as: adasparse sweep loop.learning_rate=0.0005,0.001,0.002"
        )
    arms = {" ".join(own): tuple(own) for own in grid}
    keys = ", ".join(word.partition("=")[0] for word in grid[0])
    experiment = Experiment(
        title=f"Sweep of {keys}",
        question=f"What does {keys} change?",
        baseline=next(iter(arms)),
        seeds=seeds,
        arms=arms,
    )
    return plan_study("sweep", experiment, common, seeds=seeds, config_file=config_file)


def plan_study(
    kind: str, experiment: Experiment, words: Sequence[str], *, seeds: int, config_file: Path | None = None
) -> StudyJob:
    """Any arms, with words that hold for all of them; words below `model.` go to the arms whose model has that setting.

    Raises:
        UsageError: the baseline is no arm, a word is of use to none, or the arms would be trained on different data.
    """
    arms = experiment.arms
    if experiment.baseline not in arms:
        raise UsageError(
            f"the baseline {experiment.baseline!r} is none of the arms", hint=f"they are {', '.join(arms)}"
        )
    # several runs that share the cores must not depend on how many there are
    common = [*words] if any(word.startswith("threads=") for word in words) else [*words, "threads=1"]
    of_models = [word for word in common if word.startswith("model.")]
    common = [word for word in common if word not in of_models]
    for word in common:
        # a word that arms set themselves would be lost, and a model or loop that some of them choose as well
        varied = [[own.partition("=")[2] for own in words if _key(own) == _key(word)] for words in arms.values()]
        if all(varied) or (any(varied) and "." not in _key(word)):
            values = ", ".join(dict.fromkeys(value for own in varied for value in own))
            raise UsageError(f"this study varies {_key(word)} itself: its arms have {values}", hint=f"leave {word} out")
    models = {name: _model_of([*common, *own], config_file) for name, own in arms.items()}
    for word in of_models:
        _require_of_use(word, arms, models)
    planned = []
    for name, own in arms.items():
        theirs = [word for word in of_models if _has(models[name], word) and _key(word) not in map(_key, own)]
        groups = [word for word in own if "." not in _key(word)]
        keys = [word for word in own if word not in groups]
        try:
            jobs = plan_seeds([*groups, *common, *theirs, *keys], seeds, config_file=config_file)
        except UsageError as error:
            raise UsageError(f"{name}: {error.message}", hint=error.hint) from None
        planned.append(PlannedArm(name=name, words=tuple(own), jobs=tuple(jobs)))
    _require_one_data_set(planned)
    _require_unlike(planned)
    first = planned[0].jobs[0]
    configs = [plain(own.config) for arm in planned for own in arm.jobs]
    told = [list(arms), experiment.baseline, configs]
    digest = hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()
    name = f"{kind}-{first.data.settings.name}-{digest[:8]}"
    return StudyJob(
        name=name,
        title=experiment.title,
        question=experiment.question,
        folder=Path(first.config["paths"]["studies"]) / name,
        arms=tuple(planned),
        baseline=experiment.baseline,
    )


def plan_of(job: StudyJob) -> list[PlannedRun]:
    """What the study would do, and how long each run would take."""
    rows = []
    for arm in job.arms:
        for own in arm.jobs:
            manifest = existing(own.data.folder)
            folder = None if manifest is None else latest_alike(_parent(own), own.config, manifest.fingerprint)
            state = "missing" if folder is None else "done" if (folder / DONE).exists() else "unfinished"
            seconds, known = (0.0, True) if state == "done" else expected_seconds(own) or (None, False)
            rows.append(PlannedRun(arm=arm.name, seed=own.seed, state=state, seconds=seconds, known=known))
    return rows


def run_study(
    job: StudyJob, progress: Progress | None = None, *, workers: int = 1, cluster: str = "domain"
) -> StudyReport:
    """Do what is missing, then compare.

    Args:
        workers: runs at a time. cluster: `domain` or `user`, what the intervals' clusters are.

    Raises:
        InterruptedRun: stopped; what was begun is saved.
        DataError: no arm has a result.
        BusyError: another process works on this study.
    """
    progress = progress or Silent()
    job.folder.mkdir(parents=True, exist_ok=True)
    with only_owner(job.folder):
        require_version(job.folder)
        prepared = run_prep(job.arms[0].jobs[0].data, progress)
        require_learnable(prepared.manifest)
        _write(job, prepared, {})
        # all arms of one seed before the next, so that a study stopped early can already be compared
        turns = zip(*([(arm.name, own) for own in arm.jobs] for arm in job.arms), strict=True)
        runs = [
            NamedRun(name=f"{name}, seed {own.seed}", job=own, prepared=prepared)
            for turn in turns
            for name, own in turn
            if finished_run(own, prepared) is None
        ]
        failed = train_all(runs, progress, workers=workers, what=job.title)
        _write(job, prepared, failed)
        arms = _arms(job, prepared)
        if failed and not any(arm.folders for arm in arms):
            name, reason = next(iter(failed.items()))
            raise DataError(f"no run could be trained; {name}: {reason}", hint=f"the reason is the run's: {job.folder}")
        comparison = compare_arms(arms, baseline=job.baseline, cluster=cluster)
        write_json(job.folder / TABLE, comparison.table())
    return StudyReport(folder=job.folder, title=job.title, question=job.question, comparison=comparison, failed=failed)


def open_study(folder: Path, *, baseline: str | None = None, cluster: str = "domain") -> StudyReport:
    """A study as it stands, with the runs that are done.

    Args:
        baseline: another one than the study's own.

    Raises:
        UsageError: the baseline is none of its arms.
        IntegrityError: study.json is damaged or of another version, or a run it names is gone.
        DataError: no run is done.
    """
    require_version(folder)
    found = read_json(folder / STUDY)
    arms = []
    try:
        for arm in found["arms"]:
            runs = {int(seed): None if run is None else folder / run for seed, run in arm["runs"].items()}
            arms.append(Arm(name=arm["name"], runs=runs))
        for arm in arms:
            for run in arm.folders.values():
                if not (run / DONE).exists():
                    raise IntegrityError(
                        f"{folder / STUDY} names {run}, which is no finished run (any more)",
                        hint="run the study once more: what is missing is trained again",
                    )
        comparison = compare_arms(arms, baseline=baseline or found["baseline"], cluster=cluster)
        return StudyReport(
            folder=folder,
            title=found["title"],
            question=found["question"],
            comparison=comparison,
            failed=found["failed"],
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise IntegrityError(
            f"{folder / STUDY} is damaged: {error!r}", hint="run the study once more: its runs are found again"
        ) from None


def find_study(words: str, root: Path) -> Path:
    """A study by its folder, by `latest`, or by a part of its name that only it has.

    Raises:
        UsageError: no study, or several.
    """
    given = Path(words)
    if (given / STUDY).exists():
        return given
    studies = sorted((path.parent for path in root.glob(f"*/{STUDY}")), key=lambda path: (path / STUDY).stat().st_mtime)
    if not studies:
        raise UsageError(f"there are no studies in {root}", hint="adasparse ablate makes one")
    if words == "latest":
        return studies[-1]
    found = [study for study in studies if words in study.name]
    if len(found) == 1:
        return found[0]
    names = nearest_names(words, [study.name for study in studies])
    what = f"{len(found)} studies match {words!r}" if found else f"no study matches {words!r}"
    raise UsageError(what, hint=f"there are {names}")


def require_version(folder: Path) -> None:
    """Refuse a study of another version.

    Raises:
        IntegrityError: it is of another version, or damaged.
    """
    path = folder / STUDY
    if not path.exists():
        return
    try:
        values = read_json(path)
    except IntegrityError as error:
        raise IntegrityError(
            error.message, hint=f"remove {path} and run the study once more: its runs are found again"
        ) from None
    found = values.get("study_version") if isinstance(values, dict) else None
    if found != STUDY_VERSION:
        raise IntegrityError(
            f"{path} is of study format {found}, this version reads {STUDY_VERSION}",
            hint="move the folder away; runs that are done are found again by their settings",
        )


def _spelled(flags: Mapping[str, str | None]) -> tuple[str, ...]:
    return tuple(f"{key}={value}" for key, value in flags.items() if value is not None)


def _key(word: str) -> str:
    return word.partition("=")[0]


def _model_of(words: Sequence[str], config_file: Path | None) -> str:
    """The model that words choose."""
    groups = [word for word in words if _key(word) in ("model", "loop")]
    return str(compose("train", groups, config_file=config_file)["model"]["name"])


def _has(model: str, word: str) -> bool:
    """Whether the model has the setting that a word below `model.` names."""
    return _key(word).split(".")[1] in MODELS[model].Settings.__dataclass_fields__


def _require_once(words: Sequence[str], common: Sequence[str], grid: Sequence[Sequence[str]]) -> None:
    for key in dict.fromkeys(map(_key, grid[0])):
        alone = expanded([word for word in words if _key(word) == key and word not in common])[1]
        if len(alone[0]) > 1:
            raise UsageError(f"{key} is there twice, with several values each", hint=f"write it once: {key}=a,b,c")
        values = [own.partition("=")[2] for own, *_ in alone]
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            raise UsageError(f"{key} is given {twice} twice", hint="name each value once")


def _require_of_use(word: str, arms: Mapping[str, Sequence[str]], models: Mapping[str, str]) -> None:
    key = _key(word)
    able = [name for name in arms if _has(models[name], word)]
    if not able:
        known = sorted(
            {f"model.{field}" for model in models.values() for field in MODELS[model].Settings.__dataclass_fields__}
        )
        close = nearest(key, known)
        raise UsageError(
            f"no arm's model has the setting {key}",
            hint=f"did you mean {close}?" if close else f"there are {', '.join(known)}",
        )
    if all(key in map(_key, arms[name]) for name in able):
        values = ", ".join(
            dict.fromkeys(own.partition("=")[2] for name in able for own in arms[name] if _key(own) == key)
        )
        raise UsageError(f"this study varies {key} itself: its arms have {values}", hint=f"leave {word} out")


def _require_one_data_set(arms: Sequence[PlannedArm]) -> None:
    first, *others = arms
    one = flat(plain(first.jobs[0].data.settings))
    for arm in others:
        other = flat(plain(arm.jobs[0].data.settings))
        differs = next((key for key in one if one[key] != other.get(key)), None) or next(
            iter(other.keys() - one.keys()), None
        )
        if differs is not None:
            raise UsageError(
                f"arms would be trained on different data: data.{differs} is {one.get(differs)} in {first.name!r} "
                f"and {other.get(differs)} in {arm.name!r}",
                hint="type the command once for each data set; adasparse analyze domains compares definitions of a domain",
            )


def _require_unlike(arms: Sequence[PlannedArm]) -> None:
    for one, other in itertools.combinations(arms, 2):
        if same_run(one.jobs[0].config, other.jobs[0].config):
            raise UsageError(
                f"the arms {one.name!r} and {other.name!r} would train the same",
                hint="an arm differs from the others in what it trains, not in where its runs lie",
            )


def _parent(job: TrainJob) -> Path:
    return job.runs / job.data.settings.name / job.label


def _arms(job: StudyJob, prepared: PrepReport) -> list[Arm]:
    return [Arm(name=arm.name, runs={own.seed: finished_run(own, prepared) for own in arm.jobs}) for arm in job.arms]


def _write(job: StudyJob, prepared: PrepReport, failed: Mapping[str, str]) -> None:
    """study.json; runs are named by their path from the study's folder, so that both can be moved together."""

    def placed(run: Path | None) -> str | None:
        return None if run is None else os.path.relpath(run.resolve(), job.folder.resolve())

    words = {arm.name: list(arm.words) for arm in job.arms}
    arms: list[dict[str, Any]] = [
        {
            "name": arm.name,
            "words": words[arm.name],
            "runs": {str(seed): placed(run) for seed, run in arm.runs.items()},
        }
        for arm in _arms(job, prepared)
    ]
    write_json(
        job.folder / STUDY,
        {
            "study_version": STUDY_VERSION,
            "name": job.name,
            "title": job.title,
            "question": job.question,
            "baseline": job.baseline,
            "data": {"name": prepared.manifest.name, "fingerprint": prepared.manifest.fingerprint},
            "arms": arms,
            "failed": dict(failed),
        },
    )
