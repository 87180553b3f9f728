"""A study: many runs as one object, planned, resumable, compared with the right statistics.

The same words make the same study. What it needs and finds done (by itself or by `train`) is taken as it
stands, what was interrupted goes on, what is missing is trained: each run in a process of its own, so that
a run that dies takes nothing with it. A run's result does not depend on how many run beside it.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import multiprocessing
import multiprocessing.process
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import polars as pl

from adasparse_cli.analysis.statistics import TestRows, compare, relative_improvement, uplift
from adasparse_cli.choices import Mode
from adasparse_cli.config import expanded, plain
from adasparse_cli.errors import AdasparseError, DataError, IntegrityError, InterruptedRun, UsageError
from adasparse_cli.files import only_owner, read_json, write_json
from adasparse_cli.jobs.prepare import PrepReport, existing, run_prep
from adasparse_cli.jobs.run_folder import DONE, FAILED, REPORT, latest_alike
from adasparse_cli.jobs.train import TrainJob, model_flags, plan_seeds, run_train
from adasparse_cli.models import MODELS
from adasparse_cli.prep.recipe import Progress, Silent, nearest_names
from adasparse_cli.training.loops import LOOPS

STUDY_VERSION = 1
STUDY = "study.json"
COMPARED = ("gauc_domain", "auc", "log_loss")
# What `ablate` varies beside the modes, each on fusion.
PARTS = {
    "fusion, placebo (told another row's domain)": ("loop.placebo=true",),
    "fusion, no regulariser": ("model.regulariser.enabled=false",),
    "fusion, learnable sharpness": ("model.sharpness.rule=learnable",),
    "fusion, learnable threshold": ("model.threshold.rule=learnable",),
    "fusion, pruner sees the domain alone": ("model.pruner.inputs=[domain]",),
    "fusion, pruner of rank 32": ("model.pruner.rank=32",),
    "fusion, input layer whole": ("model.pruner.input_layer=false",),
    "dcnv2": ("model=dcnv2",),
    "fusion on dcnv2": ("model.backbone=dcnv2",),
}


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One thing that is compared: its name, the words that set it apart, a job per seed."""

    name: str
    words: tuple[str, ...]
    jobs: tuple[TrainJob, ...]


@dataclass(frozen=True, kw_only=True)
class StudyJob:
    """Arms with the same seeds on the same data, compared with the arm named `baseline`."""

    name: str
    folder: Path
    arms: tuple[Arm, ...]
    baseline: str


@dataclass(frozen=True, kw_only=True)
class StudyReport:
    """What a study found.

    Args:
        table: one row per arm, plain values; figures that cannot be had are None.
        failed: runs that ended without a result, by name, with why.
        settings: what the test rows and clusters were.
    """

    folder: Path
    table: Sequence[Mapping[str, Any]]
    failed: Mapping[str, str]
    caption: str


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """A run of a plan: `state` is done, unfinished or missing; `seconds` what it will still take, None if unknown."""

    arm: str
    seed: int
    state: str
    seconds: float | None


def plan_compare(
    models: Sequence[str], words: Sequence[str], *, seeds: int, baseline: str | None, config_file: Path | None = None
) -> StudyJob:
    """Whole models against one another.

    Raises:
        UsageError: a name is of no model.
    """
    known = sorted({*MODELS, *LOOPS} - {"standard"})
    for name in models:
        if name not in known:
            raise UsageError(f"there is no model {name!r}", hint=f"there are {nearest_names(name, known)}")
    named = {name: _spelled(model_flags(name)) for name in dict.fromkeys(models or known)}
    base = baseline or ("dnn" if "dnn" in named else next(iter(named)))
    return _study("compare", named, words, seeds=seeds, baseline=base, config_file=config_file)


def plan_ablate(words: Sequence[str], *, seeds: int, parts: bool, config_file: Path | None = None) -> StudyJob:
    """The three modes and the placebo against the plain network; with `parts`, also what fusion is made of.

    Words below `model.` are AdaSparse's own, and go to its arms alone.
    """
    fusion = "model.mode=fusion"
    theirs = tuple(word for word in words if word.startswith("model."))
    words = [word for word in words if word not in theirs]
    if any(word.startswith(("model.mode=", "model.name=")) for word in theirs):
        modes = ", ".join(Mode)
        raise UsageError(f"ablate varies model.mode itself: {modes} are its arms", hint="leave that word out")
    arms: dict[str, tuple[str, ...]] = {"dnn": ("model=dnn",)}
    arms |= {mode.value: ("model=adasparse", f"model.mode={mode}") for mode in (Mode.scaling, Mode.binarization)}
    arms["fusion"] = ("model=adasparse", fusion)
    for name, own in PARTS.items() if parts else itertools.islice(PARTS.items(), 1):
        arms[name] = own if own[0].startswith("model=") else ("model=adasparse", fusion, *own)
    arms = {name: (own[0], *theirs, *own[1:]) if own[0] == "model=adasparse" else own for name, own in arms.items()}
    return _study("ablate", arms, words, seeds=seeds, baseline="dnn", config_file=config_file)


def plan_sweep(words: Sequence[str], *, seeds: int, config_file: Path | None = None) -> StudyJob:
    """Every combination of the values that words name, such as loop.learning_rate=0.001,0.002; the first is the baseline.

    Raises:
        UsageError: no word names several values.
    """
    common, grid = expanded(words)
    if len(grid) < 2:
        raise UsageError(
            "no setting has several values", hint="such as: adasparse sweep loop.learning_rate=0.0005,0.001,0.002"
        )
    arms = {" ".join(own): tuple(own) for own in grid}
    return _study("sweep", arms, common, seeds=seeds, baseline=next(iter(arms)), config_file=config_file)


def plan_of(job: StudyJob) -> list[PlannedRun]:
    """What the study would do, and how long it would take by what its arms took before."""
    rows = []
    for arm in job.arms:
        for own in arm.jobs:
            manifest = existing(own.data.folder)
            folder = None if manifest is None else latest_alike(_parent(own), own.config, manifest.fingerprint)
            state = "missing" if folder is None else "done" if (folder / DONE).exists() else "unfinished"
            seconds = 0.0 if state == "done" else _expected(own)
            rows.append(PlannedRun(arm=arm.name, seed=own.seed, state=state, seconds=seconds))
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
    """
    progress = progress or Silent()
    job.folder.mkdir(parents=True, exist_ok=True)
    with only_owner(job.folder):
        _require_version(job.folder)
        prepared = run_prep(job.arms[0].jobs[0].data, progress)
        _write(job, prepared, {})
        failed = _run_all(job, prepared, progress, workers)
        _write(job, prepared, failed)
        report = compared(job, prepared, failed, cluster=cluster)
        write_json(job.folder / "table.json", list(report.table))
    return report


def compared(job: StudyJob, prepared: PrepReport, failed: Mapping[str, str], *, cluster: str = "domain") -> StudyReport:
    """The table of a study's finished runs.

    Raises:
        DataError: no run is done, or the data know no users where users were asked for.
        IntegrityError: arms were judged on different rows.
    """
    folders = {arm.name: _finished(arm, prepared) for arm in job.arms}
    seeds = [own.seed for own in job.arms[0].jobs]
    whole = {name: found for name, found in folders.items() if set(found) == set(seeds)}
    if not any(folders.values()):
        raise DataError("no run of the study is done", hint="; ".join(failed.values()) or "run it once more")
    reports = {
        name: [read_json(found[seed] / REPORT) for seed in seeds if seed in found] for name, found in folders.items()
    }
    test, logits = _predictions(whole, seeds, cluster)
    differences: dict[str, dict[str, Any]] = {metric: {} for metric in COMPARED}
    if test is not None and job.baseline in whole:
        for metric in COMPARED:
            differences[metric] = dict(compare(metric, test, logits, baseline=job.baseline))
    rows: list[dict[str, Any]] = []
    for arm in job.arms:
        row: dict[str, Any] = {"arm": arm.name, "seeds": len(reports[arm.name])}
        for metric in COMPARED:
            values = [report["metrics"]["test"][metric] for report in reports[arm.name]]
            row[metric] = _mean(values)
            known = [value for value in values if value is not None]
            row[f"{metric}_sd"] = float(np.std(known, ddof=1)) if len(known) > 1 and row[metric] is not None else None
            found = differences[metric].get(arm.name)
            for name in ("difference", "low", "high", "p_holm", "detectable"):
                row[f"{metric}_{name}"] = None if found is None else _known(getattr(found, name))
            row[f"{metric}_real"] = None if found is None else found.is_real
            # what a choice between arms may rest on: the test rows are for judging it
            row[f"valid_{metric}"] = _mean([report["metrics"]["valid"][metric] for report in reports[arm.name]])
        better = None
        if test is not None and arm.name in logits and job.baseline in logits and arm.name != job.baseline:
            better = uplift(test, logits[arm.name], logits[job.baseline])
        row["uplift_domains"] = None if better is None else better.domains
        row["uplift_rows"] = None if better is None else better.rows
        first = reports[arm.name][0]["cost"] if reports[arm.name] else {}
        row["multiply_adds"] = first["backbone_multiply_adds"] + first["domain_multiply_adds"] if first else None
        rows.append(row)
    base = next(row["auc"] for row in rows if row["arm"] == job.baseline)
    for row in rows:
        both = row["auc"] is not None and base is not None and row["arm"] != job.baseline
        row["relative_improvement"] = relative_improvement(row["auc"], base) if both else None
    count = "n/a" if test is None else f"{len(test.labels):,} test rows, {len(np.unique(test.clusters)):,} {cluster}s"
    caption = (
        f"{prepared.manifest.name}, data {prepared.manifest.fingerprint[:12]}, {count}, seeds {seeds[0]}–{seeds[-1]}"
    )
    return StudyReport(folder=job.folder, table=rows, failed=failed, caption=caption)


def _study(
    kind: str,
    arms: Mapping[str, Sequence[str]],
    words: Sequence[str],
    *,
    seeds: int,
    baseline: str,
    config_file: Path | None,
) -> StudyJob:
    if baseline not in arms:
        raise UsageError(f"the baseline {baseline!r} is none of the arms", hint=f"they are {', '.join(arms)}")
    # several runs that share the cores must not depend on how many there are
    common = [*words] if any(word.startswith("threads=") for word in words) else [*words, "threads=1"]
    planned = []
    for name, own in arms.items():
        groups = [word for word in own if "." not in word.partition("=")[0]]
        keys = [word for word in own if word not in groups]
        jobs = plan_seeds([*groups, *common, *keys], seeds, config_file=config_file)
        planned.append(Arm(name=name, words=tuple(own), jobs=tuple(jobs)))
    configs = [plain(own.config) for arm in planned for own in arm.jobs]
    digest = hashlib.sha256(json.dumps([list(arms), configs], sort_keys=True, default=str).encode()).hexdigest()
    first = planned[0].jobs[0]
    name = f"{kind}-{first.data.settings.name}-{digest[:8]}"
    root = Path(first.config["paths"]["studies"])
    return StudyJob(name=name, folder=root / name, arms=tuple(planned), baseline=baseline)


def _spelled(flags: Mapping[str, str | None]) -> tuple[str, ...]:
    return tuple(f"{key}={value}" for key, value in flags.items() if value is not None)


def _parent(job: TrainJob) -> Path:
    return job.runs / job.data.settings.name / job.label


def _finished(arm: Arm, prepared: PrepReport) -> dict[int, Path]:
    found = {}
    for own in arm.jobs:
        folder = latest_alike(_parent(own), own.config, prepared.manifest.fingerprint)
        if folder is not None and (folder / DONE).exists():
            found[own.seed] = folder
    return found


def _expected(job: TrainJob) -> float | None:
    """What the last finished run of this model on these data took."""
    for folder in sorted(_parent(job).glob("*-s*"), reverse=True):
        if (folder / DONE).exists():
            return float(read_json(folder / REPORT)["timings"]["elapsed_seconds"])
    return None


def _run_all(job: StudyJob, prepared: PrepReport, progress: Progress, workers: int) -> dict[str, str]:
    """Train what is missing, `workers` at a time; what failed, and why."""
    # all arms of one seed before the next, so that a study stopped early can already be compared
    asked = [(arm.name, own) for turn in zip(*(_named(arm) for arm in job.arms), strict=True) for arm, own in turn]
    waiting = [
        (name, own)
        for name, own in asked
        if (folder := latest_alike(_parent(own), own.config, prepared.manifest.fingerprint)) is None
        or not (folder / DONE).exists()
    ]
    progress.start(f"{len(job.arms)} arms", len(asked), "runs")
    progress.advance(len(asked) - len(waiting))
    spawn = multiprocessing.get_context("spawn")
    running: dict[str, tuple[Any, TrainJob, float]] = {}
    failed: dict[str, str] = {}
    stop = _Stop()
    with stop:
        while waiting or running:
            while waiting and len(running) < workers and stop.number is None:
                name, own = waiting.pop(0)
                process = spawn.Process(target=_train_alone, args=(own, prepared), daemon=False)
                process.start()
                running[f"{name}, seed {own.seed}"] = (process, own, time.time())
            for title, (process, own, started) in list(running.items()):
                process.join(0.1)
                if process.exitcode is None:
                    continue
                del running[title]
                progress.advance(1)
                if process.exitcode != 0 and stop.number is None:
                    failed[title] = _why(own, prepared, process.exitcode, started)
                    progress.note(f"{title} failed: {failed[title]}")
            if stop.number is not None:
                for process, _, _ in running.values():
                    process.terminate()
                for process, _, _ in running.values():
                    process.join()
                raise InterruptedRun(
                    f"stopped; {len(waiting) + len(running)} runs of {job.folder} are still to be done",
                    hint="the same command goes on with what is missing",
                    exit_code=128 + stop.number,
                )
    return failed


def _named(arm: Arm) -> list[tuple[Arm, TrainJob]]:
    return [(arm, own) for own in arm.jobs]


class _Stop:
    """Remembers SIGINT or SIGTERM, so that runs can be asked to save."""

    number: int | None = None

    def __enter__(self) -> None:
        def wish(number: int, frame: FrameType | None) -> None:
            self.number = number

        self._old: dict[int, Callable[..., Any] | int | None] = {}
        try:
            self._old = {number: signal.signal(number, wish) for number in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:  # not in the main thread: signals are someone else's business
            self._old = {}

    def __exit__(self, *raised: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)


def _train_alone(job: TrainJob, prepared: PrepReport) -> None:
    """What the process of one run does; how it ended stands in the run's folder and in the exit code."""
    try:
        run_train(job, Silent(), resume=True, prepared=prepared)
    except AdasparseError as error:
        raise SystemExit(error.exit_code) from None


def _why(job: TrainJob, prepared: PrepReport, code: int, started: float) -> str:
    for folder in sorted(_parent(job).glob(f"*-s{job.seed}*"), reverse=True):
        path = folder / FAILED
        if path.exists() and path.stat().st_mtime >= started - 1:
            return f"{path.read_text(encoding='utf-8').strip()} ({folder})"
    return f"its process was killed by signal {-code}" if code < 0 else f"its process ended with exit code {code}"


def _predictions(
    folders: Mapping[str, Mapping[int, Path]], seeds: Sequence[int], cluster: str
) -> tuple[TestRows | None, dict[str, list[np.ndarray]]]:
    """The test rows, and the logits of each arm and seed, once it is certain that they are of the same rows."""
    test: TestRows | None = None
    key: pl.DataFrame | None = None
    logits: dict[str, list[np.ndarray]] = {}
    for name, found in folders.items():
        logits[name] = []
        for seed in seeds:
            path = found[seed] / "predictions.parquet"
            if not path.exists():
                return None, {}
            frame = pl.read_parquet(path)
            own = frame.select("source", "line", "domain", "label")
            if key is None or test is None:
                key = own
                if cluster not in frame.columns:
                    raise DataError(f"the test rows name no {cluster}", hint="use --cluster domain")
                test = TestRows(
                    labels=frame["label"].to_numpy(),
                    domains=frame["domain"].to_numpy().astype(np.int64),
                    clusters=frame[cluster].to_numpy().astype(np.int64),
                )
            elif not own.equals(key):
                raise IntegrityError(
                    f"{path} scores other rows, or the same rows under other labels or domains",
                    hint="compare runs on the same prepared data only",
                )
            logits[name].append(frame["logit"].to_numpy())
    return test, logits


def _write(job: StudyJob, prepared: PrepReport, failed: Mapping[str, str]) -> None:
    """study.json: what is compared, and where its runs lie."""
    arms = []
    for arm in job.arms:
        done = _finished(arm, prepared)
        runs = {str(own.seed): str(done[own.seed]) if own.seed in done else None for own in arm.jobs}
        arms.append({"name": arm.name, "words": list(arm.words), "runs": runs})
    write_json(
        job.folder / STUDY,
        {
            "study_version": STUDY_VERSION,
            "name": job.name,
            "baseline": job.baseline,
            "data": {"name": prepared.manifest.name, "fingerprint": prepared.manifest.fingerprint},
            "arms": arms,
            "failed": dict(failed),
        },
    )


def _require_version(folder: Path) -> None:
    path = folder / STUDY
    if path.exists():
        found = read_json(path).get("study_version")
        if found != STUDY_VERSION:
            raise IntegrityError(
                f"{path} is of study format {found}, this version reads {STUDY_VERSION}",
                hint="move the folder away; runs that are done are found again by their settings",
            )


def _mean(values: Sequence[float | None]) -> float | None:
    """None where one is missing: a mean over other seeds is another arm's."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known and len(known) == len(values) else None


def _known(value: float) -> float | None:
    return value if value == value else None  # NaN alone differs from itself
