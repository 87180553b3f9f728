"""Plan a study: arms from the settings of a command, each with one job per seed.

The same settings give the same study with the same name.
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

MOST_NAMED = 3  # maximum number of models named in the title of a study


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A named study of conf/experiment: its question and its arms.

    Args:
        baseline: baseline arm.
        seeds: default number of seeds.
        arms: the settings of each arm, by name.
    """

    title: str
    question: str
    baseline: str
    seeds: Annotated[int, Between(1)]
    arms: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class PlannedArm:
    """A planned arm: its name, its settings, and one job per seed (and world)."""

    name: str
    words: tuple[str, ...]
    jobs: tuple[TrainJob, ...]


@dataclass(frozen=True, kw_only=True)
class StudyJob:
    """Arms with the same seeds on the same data, compared with the arm named `baseline`.

    Args:
        worlds: two or more values of `data.seed`; empty if all runs use one data set.
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
        """The seeds, the same for every arm."""
        return list(dict.fromkeys(job.seed for job in self.arms[0].jobs))

    def world_of(self, job: TrainJob) -> int | None:
        """The world of a run; None if there is only one world."""
        return getattr(job.data.settings, "seed", None) if self.worlds else None


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """A run of a plan.

    Args:
        state: done, unfinished or missing.
        seconds: expected time of the run; None if there is no estimate.
        known: whether the estimate comes from a similar run, not from the machine's speed.
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
    """A comparison of models; of all models if none is named.

    Raises:
        UsageError: a model is unknown.
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
    """The names without duplicates; without names, all networks, and the loops that count as models.

    Raises:
        UsageError: a model is unknown.
    """
    all_of_them = sorted({*MODELS, *LOOPS} - {"standard"})
    known = sorted({*all_of_them, *TREE_MODELS})
    for name in models:
        if name not in known and foreign_model(name) is None:
            close = nearest(name, known)
            hint = f"did you mean {close}?" if close else f"valid models: {', '.join(known)}"
            raise UsageError(f"unknown model {name!r}", hint=hint)
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
        UsageError: the name is unknown, or a setting is invalid.
    """
    known = offered("experiment")
    if name not in known:
        raise UsageError(f"unknown experiment {name!r}", hint=f"experiments include {nearest_names(name, known)}")
    found = typed(compose(f"experiment/{name}", [])["experiment"], Experiment, f"experiment {name}")
    if baseline is not None:
        found = Experiment(**{**vars(found), "baseline": baseline})
    return plan_study(name, found, words, seeds=seeds or found.seeds, config_file=config_file, worlds=worlds)


def plan_sweep(
    words: Sequence[str], *, seeds: int, config_file: Path | None = None, worlds: Sequence[int] = ()
) -> StudyJob:
    """One arm per combination of values, such as loop.learning_rate=0.001,0.002. The first is the baseline.

    Raises:
        UsageError: no setting has several values, or a key or a value is repeated.
    """
    common, grid = expanded(words)
    _require_once(words, common, grid)
    if len(grid) < 2:
        raise UsageError(
            "no setting has several values", hint="for example: adasparse sweep loop.learning_rate=0.0005,0.001,0.002"
        )
    arms = {" ".join(own): tuple(own) for own in grid}
    keys = ", ".join(word.partition("=")[0] for word in grid[0])
    experiment = Experiment(
        title=f"Sweep of {keys}",
        question=f"What is the effect of {keys}?",
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
    """A study of the given arms. Settings below `model.` apply to the arms whose model has the setting, others to all arms.

    Args:
        worlds: the values of `data.seed` to train every arm with; empty for one data set.

    Raises:
        UsageError: the baseline is not an arm, no arm has a setting, or the arms would be trained on different data.
    """
    arms = experiment.arms
    if experiment.baseline not in arms:
        raise UsageError(f"the baseline {experiment.baseline!r} is not an arm", hint=f"the arms are {', '.join(arms)}")
    # the number of threads changes results, so it must not depend on the number of runs that share the cores
    common = [*words] if any(word.startswith("threads=") for word in words) else [*words, "threads=1"]
    of_models = [word for word in common if word.startswith("model.")]
    common = [word for word in common if word not in of_models]
    for word in common:
        # arms would override a setting that they set themselves, and a model or loop that some of them choose
        varied = [[own.partition("=")[2] for own in words if _key(own) == _key(word)] for words in arms.values()]
        if all(varied) or (any(varied) and "." not in _key(word)):
            values = ", ".join(dict.fromkeys(value for own in varied for value in own))
            raise UsageError(f"this study varies {_key(word)}: its arms have {values}", hint=f"omit {word}")
    # composing takes a tenth of a second per arm, and only settings of models need the model of an arm
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
    """The runs of a study with their states and expected times."""
    rows = []
    for arm in job.arms:
        # runs that differ only in their seed have the same estimate
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
    """The model that settings select."""
    groups = [word for word in words if _key(word) in ("model", "loop")]
    return str(compose("train", groups, config_file=config_file)["model"]["name"])


def _has(model: str, word: str) -> bool:
    """Whether the model has a setting below `model.`."""
    return _key(word).split(".")[1] in settings_of_model(model).__dataclass_fields__


def _require_once(words: Sequence[str], common: Sequence[str], grid: Sequence[Sequence[str]]) -> None:
    for key in dict.fromkeys(map(_key, grid[0])):
        alone = expanded([word for word in words if _key(word) == key and word not in common])[1]
        if len(alone[0]) > 1:
            raise UsageError(f"{key} is given twice with several values", hint=f"write it once: {key}=a,b,c")
        values = [own.partition("=")[2] for own, *_ in alone]
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            raise UsageError(f"{key} has the value {twice} twice", hint="name each value once")


def _require_of_use(word: str, arms: Mapping[str, Sequence[str]], models: Mapping[str, str]) -> None:
    key = _key(word)
    able = [name for name in arms if _has(models[name], word)]
    if not able:
        known = sorted(
            {f"model.{field}" for model in models.values() for field in settings_of_model(model).__dataclass_fields__}
        )
        close = nearest(key, known)
        raise UsageError(
            f"no arm has a model with the setting {key}",
            hint=f"did you mean {close}?" if close else f"settings of these models: {', '.join(known)}",
        )
    if all(key in map(_key, arms[name]) for name in able):
        values = ", ".join(
            dict.fromkeys(own.partition("=")[2] for name in able for own in arms[name] if _key(own) == key)
        )
        raise UsageError(f"this study varies {key}: its arms have {values}", hint=f"omit {word}")


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
                hint="run the command once per data set; adasparse analyze domains compares domain definitions",
            )


def _require_unlike(arms: Sequence[PlannedArm]) -> None:
    for one, other in itertools.combinations(arms, 2):
        if same_run(one.jobs[0].config, other.jobs[0].config):
            raise UsageError(
                f"the arms {one.name!r} and {other.name!r} would train identical runs",
                hint="arms must differ in a setting of the model, the loop or the network",
            )


def _parent(job: TrainJob) -> Path:
    return job.runs / job.data.settings.name / job.label
