"""Train a model on prepared data, in one process or several."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from adasparse_cli.choices import Split
from adasparse_cli.cluster.settings import LOCAL
from adasparse_cli.distributed.process_group import hear, tell
from adasparse_cli.errors import (
    AdasparseError,
    DataError,
    DiskFullError,
    IntegrityError,
    InterruptedRun,
    LostProcessError,
    NumericError,
    UsageError,
)
from adasparse_cli.files import disk_is_full, no_room, only_owner, remove_stray_temporaries, write_json
from adasparse_cli.layers import ranks
from adasparse_cli.machine.allocator import keep_large_blocks
from adasparse_cli.machine.resources import busy_warning, chosen_device, set_threads
from adasparse_cli.models import TREE_MODELS
from adasparse_cli.models.base import Model
from adasparse_cli.models.lightgbm import Lightgbm
from adasparse_cli.models.unfilled import unfilled
from adasparse_cli.prep.recipe import Progress, Silent
from adasparse_cli.prepared.files import copy_encoder, require_learnable, verify
from adasparse_cli.rows.dataset import Rows, load_shape
from adasparse_cli.runs.data_words import words_for
from adasparse_cli.runs.json_types import Serving
from adasparse_cli.runs.prepare import PrepReport, ensure_prepared, existing
from adasparse_cli.runs.run_folder import Sitting, add_sitting, fail, finish, latest_alike, new_run
from adasparse_cli.runs.run_results import (
    log,
    logged,
    logged_metrics,
    logging_evaluations,
    write_domains,
    write_predictions,
)
from adasparse_cli.runs.saved_run import (
    DONE,
    ENCODER,
    FAILED,
    REPORT,
    REPORT_VERSION,
    Failure,
    failure_of,
    read_report,
)
from adasparse_cli.runs.serving_speed import measure_serving
from adasparse_cli.runs.train_job import TrainJob, build_model
from adasparse_cli.schema import Manifest
from adasparse_cli.training.boosting import Boosting
from adasparse_cli.training.evaluate import context_shares, metrics_of
from adasparse_cli.training.loop import Loop
from adasparse_cli.training.loops import LOOPS
from adasparse_cli.training.memory_limits import require_memory, require_peak_memory
from adasparse_cli.training.row_source import other_rows, train_rows
from adasparse_cli.training.tracking import SafeTracker
from adasparse_cli.typed import flat, plain

# Below this number of scheduled steps, training warns about pruners (docs/results.md, small logs).
FEW_STEPS = 32


@dataclass(frozen=True, kw_only=True)
class TrainReport:
    """A finished run. `report` is the content of report.json; `fresh` is False if the run was finished before."""

    folder: Path
    report: Mapping[str, Any]
    fresh: bool


def run_train(
    job: TrainJob,
    progress: Progress | None = None,
    *,
    resume: bool = False,
    begun_since: float | None = None,
    prepared: PrepReport | None = None,
) -> TrainReport:
    """Train a model, evaluate its best checkpoint, and write the run's folder.

    Args:
        resume: continue the newest run with the same settings on the same data. A finished run is returned unchanged. If
            there is no such run, a new one starts.
        begun_since: resume only a run that began at this time (seconds since 1970) or later; None for any.
        prepared: the job's data, if they are known to be prepared.

    Raises:
        BusyError: another process trains this run.
        AdasparseError: training failed. The folder records the failure; the run can be resumed unless it would fail again.
    """
    progress = progress or Silent()
    if job.launcher.name != LOCAL:
        raise UsageError(
            f"launcher={job.launcher.name}: a single run is trained here",
            hint="adasparse compare --models NAME --seeds K trains the runs of a study there",
        )
    trees = job.model.name in TREE_MODELS
    if trees and ranks.world_size() > 1:
        raise UsageError(
            f"{job.label} cannot be trained by {ranks.world_size()} processes",
            hint="threads=N lets one process use N cores",
        )
    if ranks.rank() > 0:
        return _follow(job)
    # fails before data are prepared; trees leave a GPU to other processes
    device = torch.device("cpu") if trees else chosen_device(job.device)
    prepared = prepared or ensure_prepared(job.data, progress)
    manifest = prepared.manifest
    require_learnable(manifest)
    parent = job.runs / manifest.name / job.label
    threads = set_threads(job.threads)
    together = f" × {ranks.world_size()} processes" if ranks.world_size() > 1 else ""
    sitting = Sitting(device=f"{device}{together}", threads=threads, fingerprint=manifest.fingerprint)
    with contextlib.ExitStack() as owned:
        # under this lock, another process with the same settings either finds this run or starts before it
        with only_owner(job.runs, wait=True):
            folder = None
            if resume:
                folder = latest_alike(parent, job.config, manifest.fingerprint, begun_since=begun_since)
            if folder is not None and (folder / DONE).exists():
                tell("")
                return TrainReport(folder=folder, report=read_report(folder), fresh=False)
            if folder is None:
                if resume:
                    progress.note("no unfinished run with these settings: starting a new run")
                folder = new_run(parent, job.config, seed=job.seed, sitting=sitting)
                owned.enter_context(only_owner(folder))
            else:
                owned.enter_context(only_owner(folder))
                _require_resumable(folder)
                if changes := add_sitting(folder, sitting):
                    progress.note(
                        f"the environment has changed, so the result may not be bit-equal: {'; '.join(changes)}"
                    )
        owned.enter_context(logged(folder))
        if device.type == "cpu" and (warning := busy_warning(threads)):
            progress.note(warning)
        report: dict[str, Any] | None = None
        tracker = SafeTracker(job.tracking, folder, job.runs, flat(job.config), warn=progress.note)
        tell(str(folder.resolve()))
        try:
            report = _train(job, prepared, folder, progress, logging_evaluations(tracker.line), device)
        except (InterruptedRun, LostProcessError, KeyboardInterrupt):
            raise
        except Exception as error:
            if disk_is_full(error):  # the run can be resumed once there is space
                full = isinstance(error, DiskFullError)
                raise error if full else no_room(Path(getattr(error, "filename", None) or folder)) from None
            message = error.message if isinstance(error, AdasparseError) else f"{type(error).__name__}: {error}"
            with contextlib.suppress(OSError):  # FAILED cannot be written either; the run stays unfinished
                again, damaged = isinstance(error, NumericError), isinstance(error, IntegrityError)
                fail(folder, Failure(message=message, fails_again=again, damaged=damaged))
            raise
        finally:
            tracker.close(report)
        finish(folder)
    return TrainReport(folder=folder, report=report, fresh=True)


def _serving_speed(job: TrainJob, model: Model, manifest: Manifest, data_folder: Path, rows: Rows) -> Serving | None:
    """The rates of serving; None where the scores are not those of one model. What is measured last cannot fail a run."""
    if getattr(job.loop, "adapt_before_test", False):
        return None
    try:
        return measure_serving(model.eval(), manifest.fields, load_shape(data_folder, manifest).bags, rows)
    except Exception as error:
        log.warning("serving was not measured: %s: %s", type(error).__name__, error)
        return None


def _follow(job: TrainJob) -> TrainReport:
    """Train as a rank other than 0. Such ranks write no files, and their report is empty.

    Raises:
        DataError: this process cannot see the data or the run of rank 0.
    """
    place = hear()
    if not place:
        return TrainReport(folder=job.runs, report={}, fresh=False)
    folder = Path(place)
    manifest = existing(job.data.folder)
    if manifest is None or not folder.is_dir():
        missing = job.data.folder if manifest is None else folder
        raise DataError(
            f"process {ranks.rank()} cannot see {missing.resolve()}, which process 0 uses",
            hint="paths.data and paths.runs must be on a file system that all machines share",
        )
    prepared = PrepReport(folder=job.data.folder, manifest=manifest, fresh=False, elapsed_seconds=0.0)
    device, _ = chosen_device(job.device), set_threads(job.threads)
    _train(job, prepared, folder, Silent(), lambda line: None, device)
    return TrainReport(folder=folder, report={}, fresh=True)


def require_together(job: TrainJob, model: Model) -> None:
    """Refuse settings for which several processes would compute another result than one."""
    size = ranks.world_size()
    if size == 1:
        return
    if job.loop.name != "standard":
        raise UsageError(
            f"loop={job.loop.name} does not support {size} processes: its tasks need all rows of a domain in one process",
            hint="train it in one process, without --nproc",
        )
    if not model.spans_ranks:
        raise UsageError(
            f"{job.label} does not support {size} processes: it computes statistics over the rows of each domain in a batch",
            hint="train it in one process, without --nproc; star also has model.partitioned_norm.enabled=false",
        )


def _require_resumable(folder: Path) -> None:
    """Make an interrupted or failed run ready to resume. Refuse a run that would fail again."""
    failure = failure_of(folder)
    if failure is not None and failure.fails_again:
        raise NumericError(
            f"{folder} failed, and the same settings would fail again: {failure.message}",
            hint=f"change a setting, such as loop.learning_rate, or remove the run: adasparse runs rm {folder.name}",
        )
    (folder / FAILED).unlink(missing_ok=True)
    remove_stray_temporaries(folder)


def finished_run(job: TrainJob, prepared: PrepReport) -> Path | None:
    """The finished run of this job on these data, if there is one."""
    parent = job.runs / prepared.manifest.name / job.label
    folder = latest_alike(parent, job.config, prepared.manifest.fingerprint)
    return folder if folder is not None and (folder / DONE).exists() else None


def _train(
    job: TrainJob,
    prepared: PrepReport,
    folder: Path,
    progress: Progress,
    on_line: Callable[[dict[str, Any]], None],
    device: torch.device,
) -> dict[str, Any]:
    manifest, data_folder = prepared.manifest, prepared.folder
    leads = ranks.rank() == 0
    if not prepared.fresh:
        verify(data_folder, manifest)
    keep_large_blocks()
    if leads:
        copy_encoder(data_folder, manifest, folder / ENCODER)
    train = train_rows(data_folder, manifest, job.loop, device=device, progress=progress)
    valid = other_rows(data_folder, manifest, Split.valid, job.loop, device=device, progress=progress)
    shape = load_shape(data_folder, manifest)
    with unfilled():
        cost = require_memory(job.label, build_model(job, shape), shape.num_domains, device)
    model = build_model(job, shape).to(device)
    del shape  # of its bags the model has its own
    require_together(job, model)
    progress.note(f"{cost}; {require_peak_memory(job.label, model, train, manifest, job.loop)}")

    rows_and_rest: dict[str, Any] = {
        "train": train,
        "valid": valid,
        "num_domains": manifest.num_all_domains,
        "settings": job.loop,
        "seed": job.seed,
        "folder": folder,
        "on_step": lambda rows, figures: progress.advance(rows, figures),
        "on_line": on_line,
    }
    loop: Loop | Boosting
    if isinstance(model, Lightgbm):
        loop = Boosting(model=model, **rows_and_rest)
    else:
        loop = LOOPS[job.loop.name](model=model, **rows_and_rest)
    steps = loop.scheduled_steps
    if model.sparsity_interval is not None and steps < FEW_STEPS:
        progress.note(
            f"warning: {steps} training steps are few for pruners, whose sharpness and regulariser change with the steps. "
            f"With fewer than about {FEW_STEPS} steps AdaSparse was worse than the DNN: compare with --model dnn, or use a "
            "smaller loop.batch_size"
        )
    loop.resume()
    if loop.state.step:
        progress.note(f"resuming at step {loop.state.step} of {loop.total_steps} in {folder}")
    progress.start(f"training {job.label}", loop.rows_to_go(), "rows")
    log.info("training %s on %s from step %d of %d", job.label, manifest.name, loop.state.step, loop.total_steps)
    result = loop.run()
    if not leads:
        return {}
    log.info("stopped at step %d, best at step %d", result.steps, result.best_step)

    progress.start("evaluating", None, "rows")
    metrics: dict[str, Any] = {}
    sparsity: dict[str, Any] = {}
    serving: Serving | None = None
    for split in (Split.valid, Split.test):
        if manifest.splits.get(split) is None or manifest.splits[split].rows == 0:
            continue
        rows = valid
        if split is not Split.valid:
            rows = other_rows(data_folder, manifest, split, job.loop, device=device, progress=progress)
        # a control arm sees other rows' domains in every split
        rows = rows.with_another_rows_domain(job.seed) if job.loop.placebo else rows
        scores = loop.scores(rows)
        metrics[split] = metrics_of(scores, rows, num_domains=manifest.num_all_domains).to_json()
        log.info("best checkpoint: %s", logged_metrics({"kind": split, "step": result.best_step, **metrics[split]}))
        if scores.pruned is not None:
            sparsity[split] = scores.sparsity()
        if split is Split.test:
            write_predictions(folder, rows, scores)
            write_domains(folder, data_folder, manifest, model, rows, scores)
            serving = _serving_speed(job, model, manifest, data_folder, rows)

    report = {
        "report_version": REPORT_VERSION,
        "run": str(Path(*folder.parts[-3:])),
        "data": {
            "name": manifest.name,
            "words": words_for(manifest),
            "fingerprint": manifest.fingerprint,
            "label": manifest.label,
            "domain": list(manifest.domain),
            "num_domains": manifest.num_domains,
            "splits": {name: asdict(counts) for name, counts in manifest.splits.items()},
        },
        "model": job.model.name,
        "mode": getattr(job.model, "mode", None),
        "seed": job.seed,
        "settings": {
            name: plain(part) for name, part in (("model", job.model), ("network", job.network), ("loop", job.loop))
        },
        "cost": asdict(model.cost()),
        "steps": result.steps,
        "best_step": result.best_step,
        "stopped_early": result.stopped_early,
        "metrics": metrics,
        "context_shares": context_shares(model, loop.valid),
        "sparsity": {
            "layers": list(model.gated_layers),
            "widths": [list(widths) for widths in model.gated_widths],
            "interval": list(model.sparsity_interval) if model.sparsity_interval else None,
            "at_end": loop.state.last_sparsity,
            **sparsity,
        }
        if model.gated_layers
        else None,
        "timings": {
            "elapsed_seconds": round(result.elapsed_seconds, 3),
            "rows_per_second": None if result.rows_per_second is None else round(result.rows_per_second, 1),
            "serving": serving,
        },
    }
    write_json(folder / REPORT, report)
    return report
