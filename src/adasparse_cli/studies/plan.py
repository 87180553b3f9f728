"""What a study would train: arms from the words of a command, each with a job per seed.

The same words make the same study, down to its name.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from adasparse_cli.choices import Between, nearest, nearest_names
from adasparse_cli.config.compose import compose
from adasparse_cli.config.grammar import expanded
from adasparse_cli.config.packaged_sections import offered
from adasparse_cli.errors import UsageError
from adasparse_cli.findings.wording import listed
from adasparse_cli.foreign import foreign_model
from adasparse_cli.models import MODELS, TREE_MODELS
from adasparse_cli.models.named import settings_of_model
from adasparse_cli.runs.prepare import existing
from adasparse_cli.runs.run_folder import latest_alike, same_run
from adasparse_cli.runs.saved_run import DONE
from adasparse_cli.runs.train_job import TrainJob, model_flags
from adasparse_cli.studies.forecast import expected_seconds
from adasparse_cli.studies.worlds import plan_worlds
from adasparse_cli.training.loops import LOOPS
from adasparse_cli.typed import flat, plain, typed

MOST_NAMED = 3  # models in the title of a study


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
    """An arm to be: its name, the words that set it apart, a job per seed (and world)."""

    name: str
    words: tuple[str, ...]
    jobs: tuple[TrainJob, ...]


@dataclass(frozen=True, kw_only=True)
class StudyJob:
    """Arms with the same seeds on the same data, compared with the arm named `baseline`.

    Args:
        worlds: the values of `data.seed`, two or more; empty where all runs are on one data set.
    """

    name: str
    title: str
    question: str
    folder: Path
    arms: tuple[PlannedArm, ...]
    baseline: str
    worlds: tuple[int, ...] = ()

    @property
    def seeds(self) -> list[int]:
        """The seeds of every arm."""
        return list(dict.fromkeys(job.seed for job in self.arms[0].jobs))

    def world_of(self, job: TrainJob) -> int | None:
        """The world that a run is trained in; None where there is one."""
        return getattr(job.data.settings, "seed", None) if self.worlds else None


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """A run of a plan.

    Args:
        state: done, unfinished or missing.
        seconds: what it will take from its start on; None if unknown.
        known: whether a run like it says so; else it is a guess from the machine's speed.
    """

    arm: str
    world: int | None
    seed: int
    state: str
    seconds: float | None
    known: bool


def plan_compare(
    models: Sequence[str],
    words: Sequence[str],
    *,
    seeds: int,
    baseline: str | None,
    config_file: Path | None = None,
    worlds: Sequence[int] = (),
) -> StudyJob:
    """Whole models against one another; all of them if none is named.

    Raises:
        UsageError: a name is of no model.
    """
    named = {name: _spelled(model_flags(name)) for name in named_models(models)}
    base = baseline or ("dnn" if "dnn" in named else next(iter(named)))
    what = listed(list(named)) if len(named) <= MOST_NAMED else f"{len(named)} models"
    experiment = Experiment(
        title=f"Comparison of {what}",
        question=f"Which models are better than {base}?",
        baseline=base,
        seeds=seeds,
        arms=named,
    )
    return plan_study("compare", experiment, words, seeds=seeds, config_file=config_file, worlds=worlds)


def named_models(models: Sequence[str]) -> list[str]:
    """The models of these names, each once; without any, all networks and the loops that stand for one.

    Raises:
        UsageError: a name is of no model.
    """
    all_of_them = sorted({*MODELS, *LOOPS} - {"standard"})
    known = sorted({*all_of_them, *TREE_MODELS})
    for name in models:
        if name not in known and foreign_model(name) is None:
            close = nearest(name, known)
            hint = f"did you mean {close}?" if close else f"there are {', '.join(known)}"
            raise UsageError(f"there is no model {name!r}", hint=hint)
    return list(dict.fromkeys(models or all_of_them))


def plan_experiment(
    name: str,
    words: Sequence[str],
    *,
    seeds: int | None = None,
    baseline: str | None = None,
    config_file: Path | None = None,
    worlds: Sequence[int] = (),
) -> StudyJob:
    """A named study, such as `ablation`.

    Raises:
        UsageError: there is none of that name, or a word cannot be used.
    """
    known = offered("experiment")
    if name not in known:
        raise UsageError(f"there is no experiment {name!r}", hint=f"there are {nearest_names(name, known)}")
    found = typed(compose(f"experiment/{name}", [])["experiment"], Experiment, f"experiment {name}")
    if baseline is not None:
        found = Experiment(**{**vars(found), "baseline": baseline})
    return plan_study(name, found, words, seeds=seeds or found.seeds, config_file=config_file, worlds=worlds)


def plan_sweep(
    words: Sequence[str], *, seeds: int, config_file: Path | None = None, worlds: Sequence[int] = ()
) -> StudyJob:
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
    return plan_study("sweep", experiment, common, seeds=seeds, config_file=config_file, worlds=worlds)


def plan_study(
    kind: str,
    experiment: Experiment,
    words: Sequence[str],
    *,
    seeds: int,
    config_file: Path | None = None,
    worlds: Sequence[int] = (),
) -> StudyJob:
    """Any arms, with words that hold for all of them; words below `model.` go to the arms whose model has that setting.

    Args:
        worlds: the values of `data.seed` to train every arm with; empty for the data as they are.

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
    # composing takes a tenth of a second per arm, and only words of models ask which model an arm has
    models = {name: _model_of([*common, *own], config_file) for name, own in arms.items()} if of_models else {}
    for word in of_models:
        _require_of_use(word, arms, models)
    planned = []
    for name, own in arms.items():
        theirs = [word for word in of_models if _has(models[name], word) and _key(word) not in map(_key, own)]
        groups = [word for word in own if "." not in _key(word)]
        keys = [word for word in own if word not in groups]
        try:
            jobs = plan_worlds([*groups, *common, *theirs, *keys], seeds, worlds, config_file=config_file)
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
        worlds=tuple(worlds) if len(worlds) > 1 else (),
    )


def plan_of(job: StudyJob) -> list[PlannedRun]:
    """What the study would do, and how long each run would take."""
    rows = []
    for arm in job.arms:
        # runs of an arm that differ in their seed alone take equally long
        forecast = functools.cache(lambda folder, arm=arm: expected_seconds(_first_on(arm, folder)) or (None, False))
        for own in arm.jobs:
            manifest = existing(own.data.folder)
            folder = None if manifest is None else latest_alike(_parent(own), own.config, manifest.fingerprint)
            state = "missing" if folder is None else "done" if (folder / DONE).exists() else "unfinished"
            seconds, known = (0.0, True) if state == "done" else forecast(own.data.folder)
            rows.append(
                PlannedRun(
                    arm=arm.name,
                    world=job.world_of(own),
                    seed=own.seed,
                    state=state,
                    seconds=seconds,
                    known=known,
                )
            )
    return rows


def _first_on(arm: PlannedArm, folder: Path) -> TrainJob:
    return next(own for own in arm.jobs if own.data.folder == folder)


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
    return _key(word).split(".")[1] in settings_of_model(model).__dataclass_fields__


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
            {f"model.{field}" for model in models.values() for field in settings_of_model(model).__dataclass_fields__}
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
