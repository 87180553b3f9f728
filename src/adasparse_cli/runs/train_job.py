"""Training jobs, from the settings of a command line or from a saved configuration."""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adasparse_cli.cluster.launchers import launcher_settings
from adasparse_cli.cluster.settings import HERE, LauncherSettings
from adasparse_cli.config.compose import compose
from adasparse_cli.config.root import SEEDS, THREADS
from adasparse_cli.errors import (
    UnknownSettingsError,
    UsageError,
    at_once,
)
from adasparse_cli.models import MODELS, TREE_MODELS
from adasparse_cli.models.named import PACKAGED, label_of, model_named, settings_of_model, source_of
from adasparse_cli.models.settings.network import NetworkSettings
from adasparse_cli.runs.prepare import PrepJob, plan_data, with_prepared
from adasparse_cli.runs.saved_run import (
    MODEL_SOURCE,
    PLACEBO,
)
from adasparse_cli.training.loops import LOOPS, settings_of_loop
from adasparse_cli.training.settings import LoopSettings
from adasparse_cli.training.tracking import TrackingSettings
from adasparse_cli.typed import plain, typed

if TYPE_CHECKING:
    from adasparse_cli.models.base import DataShape, Model


@dataclass(frozen=True, kw_only=True)
class TrainJob:
    """The plan of a run.

    Args:
        data: the training data, which are prepared first if necessary.
        config: the complete resolved configuration, as plain values.
        label: the model's name, with its mode if it has one, and with a suffix for control arms.
        launcher: where a study trains it. It is not a part of `config`, because results do not depend on it.
    """

    data: PrepJob
    network: NetworkSettings
    model: Any
    loop: LoopSettings
    tracking: TrackingSettings
    seed: int
    device: str
    threads: int | None
    runs: Path
    config: Mapping[str, Any]
    label: str
    launcher: LauncherSettings = HERE


def plan_train(overrides: Sequence[str], *, config_file: Path | None = None) -> TrainJob:
    """A job from the settings of a command line.

    Raises:
        UsageError: settings are invalid. The error lists all of them.
    """
    try:
        return _planned(overrides, config_file=config_file)
    except UnknownSettingsError as unknown:
        raise _with_other_faults(unknown) from None


def _with_other_faults(unknown: UnknownSettingsError) -> UsageError:
    """The error for unknown settings, with the errors of the known settings added."""

    def first() -> None:
        raise unknown

    try:
        at_once(first, functools.partial(_planned, unknown.known))
    except UsageError as every:
        return every
    return unknown


def _planned(overrides: Sequence[str], *, config_file: Path | None = None) -> TrainJob:
    overrides = with_prepared(overrides, config_file=config_file)
    tree = compose("train", overrides, config_file=config_file)
    data = plan_data(tree, overrides, config_file=config_file)
    source = source_of(str(tree["model"].get("name")))
    own = {} if source is None else {MODEL_SOURCE: source}
    where, values = tree.pop("launcher"), {**tree, "data": plain(data.settings), **own}
    found: list[Any] = at_once(lambda: job_of(values, data), lambda: launcher_settings(where))
    job: TrainJob = replace(found[0], launcher=found[1])
    if job.model.name in TREE_MODELS:
        from adasparse_cli.training.boosting import require_boostable

        require_boostable(job.loop, job.device)
    return job


def plan_seeds(words: Sequence[str], seeds: int, *, config_file: Path | None = None) -> list[TrainJob]:
    """The same job with `seeds` consecutive seeds, starting at the seed of its settings."""
    first = plan_train(words, config_file=config_file)
    return [
        replace(first, seed=seed, config={**first.config, "seed": seed})
        for seed in range(first.seed, first.seed + seeds)
    ]


def job_of(tree: Mapping[str, Any], data: PrepJob) -> TrainJob:
    """A job from a resolved configuration, such as the config.yaml of a run."""
    name = str(tree["model"].get("name"))
    model_settings = settings_of_model(name)
    loop_name = str(tree["loop"].get("name"))
    if loop_name not in LOOPS:
        raise UsageError(f"unknown loop: loop.name={loop_name}", hint=f"valid loops: {', '.join(sorted(LOOPS))}")
    for key, limit in (("seed", SEEDS), ("threads", THREADS)):
        value = tree[key]
        if not (key == "threads" and value is None) and not (type(value) is int and limit.holds(value)):
            raise UsageError(f"{key}={value} must be a whole number, {limit}", hint=f"for example {key}=1")
    model, loop, network, tracking = at_once(
        lambda: _model_settings(name, tree["model"], model_settings),
        lambda: typed(tree["loop"], settings_of_loop(loop_name), "loop"),
        lambda: typed(tree["network"], NetworkSettings, "network"),
        lambda: typed(tree["tracking"], TrackingSettings, "tracking"),
    )
    mode = getattr(model, "mode", None)
    shown = label_of(name)
    label = shown if mode is None else f"{shown}-{mode}"
    if loop_name != "standard":
        label = loop_name if name == "dnn" else f"{loop_name}-{label}"
    return TrainJob(
        data=data,
        network=network,
        model=model,
        loop=loop,
        tracking=tracking,
        seed=tree["seed"],
        device=str(tree["device"]),
        threads=tree["threads"],
        runs=Path(tree["paths"]["runs"]),
        config=tree,
        label=label + PLACEBO * loop.placebo,
    )


def _model_settings(name: str, section: Any, kind: type[Any]) -> Any:
    try:
        return typed(section, kind, "model")
    except UsageError as error:
        if name in PACKAGED:
            raise
        module = sys.modules[model_named(name).__module__]
        raise UsageError(
            error.message,
            hint=f"{Path(module.__file__ or '').with_suffix('.yaml')} has the values, {kind.__name__} declares them",
        ) from None


def model_flags(name: str | None) -> dict[str, str | None]:
    """The settings of `--model NAME`. The name of a loop selects the DNN with that loop."""
    return {"model": "dnn", "loop": name} if name in LOOPS and name not in MODELS else {"model": name}


def build_model(job: TrainJob, shape: DataShape) -> Model:
    """The job's model with its initial weights, which depend only on the seed and the base rate."""
    import torch  # plans do without

    torch.manual_seed(job.seed)
    model_class: Any = model_named(job.model.name)
    model: Model = model_class(job.model, job.network, shape)
    if shape.base_rate is not None:
        model.start_at(shape.base_rate)
    return model
