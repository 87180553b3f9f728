"""What a saved run makes of rows: its metrics on a split, or scores for a new file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from adasparse_cli.choices import FieldKind, Split
from adasparse_cli.errors import DataError, IntegrityError, UsageError
from adasparse_cli.files import write_atomically
from adasparse_cli.jobs.prepare import PrepJob, require_files
from adasparse_cli.jobs.run_folder import CONFIG, read_config
from adasparse_cli.jobs.train import TrainJob, build_model, job_of, prediction_frame
from adasparse_cli.metrics import compute_metrics
from adasparse_cli.models.base import DataShape, Model
from adasparse_cli.prep.foreign import RefusedModuleError
from adasparse_cli.prep.prepared import (
    domain_names,
    encode_rows,
    open_prepared,
    read_bags,
    read_domains,
    read_split,
    verify,
)
from adasparse_cli.prep.recipe import Progress, Reject, Silent, recipe_named
from adasparse_cli.schema import Manifest
from adasparse_cli.training.checkpoint import load_checkpoint, load_weights
from adasparse_cli.training.dataset import Rows, bags_of, load_rows, load_shape, rows_of
from adasparse_cli.training.evaluate import Scores, metrics_of
from adasparse_cli.training.loop import BEST
from adasparse_cli.training.loops import LOOPS
from adasparse_cli.training.machine import chosen_device, set_threads
from adasparse_cli.typed import plain, typed

# How much larger than in the test split a share of unknown values must be to be told.
NOTABLE = 0.1


@dataclass(frozen=True, kw_only=True)
class SavedRun:
    """A run opened together with the data it was trained on."""

    folder: Path
    job: TrainJob
    manifest: Manifest
    data_folder: Path


@dataclass(frozen=True, kw_only=True)
class EvaluateReport:
    """Metrics of a run's best weights by split; and of the true probabilities, where a synthetic data set knows them."""

    run: Path
    metrics: Mapping[str, Mapping[str, Any]]
    best_possible: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class PredictReport:
    """What was scored: rows written, rows set aside, rows whose domain was not seen in training.

    Args:
        unseen: per field the share (0–1) of rows with a value unknown from training, where it is NOTABLE more than in the test split.
    """

    output: Path
    rows: int
    rejects: Sequence[Reject]
    unseen_domain_rows: int
    unseen: Mapping[str, float]


def open_run(folder: Path, *, data_root: Path) -> SavedRun:
    """A saved run, with the data it was trained on.

    Raises:
        IntegrityError: a part is missing or damaged, or the data are not those of the run.
    """
    config = read_config(folder)
    try:
        settings = typed(config["data"], recipe_named(str(config["data"]["recipe"])).Settings, "data")
        data_folder = data_root / settings.name
        job = job_of(config, PrepJob(settings=settings, raw=(), folder=data_folder))
    except RefusedModuleError:
        raise
    except (KeyError, TypeError, AttributeError, UsageError) as error:
        what = error.message if isinstance(error, UsageError) else f"{error!r}"
        raise IntegrityError(
            f"{folder / CONFIG} was edited, or is of another version: {what}", hint="train the run anew"
        ) from None
    manifest = open_prepared(data_folder)
    if plain(settings) != dict(manifest.settings):
        raise IntegrityError(
            f"{data_folder} was prepared anew with other settings since {folder} was trained",
            hint="prepare it again with the data section of the run's config.yaml, or name another paths.data",
        )
    return SavedRun(folder=folder, job=job, manifest=manifest, data_folder=data_folder)


def trained_model(run: SavedRun) -> tuple[Model, DataShape]:
    """The run's model with its best weights, on the device of its job; its data are verified first.

    Raises:
        IntegrityError: data or weights are damaged, or do not fit.
    """
    verify(run.data_folder, run.manifest)
    shape = load_shape(run.data_folder, run.manifest)
    model = build_model(run.job, shape)
    tensors, _ = load_checkpoint(run.folder / BEST)
    load_weights(model, tensors, where=run.folder / BEST)
    return model.to(chosen_device(run.job.device)).eval(), shape


def run_evaluate(run: SavedRun, *, splits: Sequence[Split] = (Split.valid, Split.test)) -> EvaluateReport:
    """Score the splits with the best weights and compute their metrics anew."""
    set_threads(run.job.threads)
    model, _ = trained_model(run)
    metrics, best_possible = {}, {}
    for split in splits:
        if split not in run.manifest.splits or run.manifest.splits[split].rows == 0:
            raise DataError(f"{run.manifest.name} has no {split} split", hint="name one that it has: --split test")
        rows = load_rows(run.data_folder, run.manifest, split, device=model.device)
        if rows.labels is None:
            raise DataError(f"the {split} split has no labels", hint="adasparse predict scores rows without labels")
        rows = rows.with_another_rows_domain(run.job.seed) if run.job.loop.placebo else rows
        scores = _scores(run, model, rows)
        metrics[str(split)] = metrics_of(scores, rows, num_domains=run.manifest.num_all_domains).to_json()
        truth = true_metrics(run.data_folder, run.manifest, split)
        if truth is not None:
            best_possible[str(split)] = truth
    return EvaluateReport(run=run.folder, metrics=metrics, best_possible=best_possible)


def true_metrics(data_folder: Path, manifest: Manifest, split: Split) -> dict[str, Any] | None:
    """Metrics of the true probabilities, which no model can beat but by chance; None where nobody knows them."""
    path = data_folder / "truth" / "rows.parquet"
    if not path.exists():
        return None
    rows = read_split(data_folder, manifest, split)
    truth = pl.read_parquet(path).rename({"line": "__line"})
    known = rows.select("__line").join(truth, on="__line", how="left", maintain_order="left")["probability"].to_numpy()
    users = rows["__user"].to_numpy() if "__user" in rows.columns else None
    logits = np.log(known) - np.log1p(-known)
    found = compute_metrics(
        rows["__label"].to_numpy(), logits, rows["__domain"].to_numpy(), manifest.num_all_domains, users
    )
    return found.to_json()


def run_predict(run: SavedRun, raw: Sequence[Path], output: Path, progress: Progress | None = None) -> PredictReport:
    """Score new files, labelled or not, and write one line per row: where it stood, its domain, its probability.

    Values that training did not see get id 0, as they do in preparation; rows that cannot be read are
    set aside and counted. The output is CSV, or Parquet where its name says so.

    Raises:
        UsageError: the output can be no file of these.
        DataError: a file cannot be read, or holds no row.
    """
    progress = progress or Silent()
    require_files(raw)
    _require_output(output)
    set_threads(run.job.threads)
    model, shape = trained_model(run)
    stored = {name: read_bags(run.data_folder, name) for name in shape.bags}
    frames: list[pl.DataFrame] = []
    rejects: list[Reject] = []
    singles = [field.name for field in run.manifest.fields if field.kind is not FieldKind.multi_valued]
    unknown = dict.fromkeys(singles, 0)
    progress.start("scoring", None, "rows")
    for encoded in encode_rows(run.data_folder, run.manifest, run.job.data.settings, raw):
        rejects += encoded.rejects
        if encoded.frame.height == 0:
            continue
        rows = rows_of(encoded.frame, run.manifest.fields, device=model.device)
        rows = rows.with_another_rows_domain(run.job.seed) if run.job.loop.placebo else rows
        model.embedding.set_bags(
            {name: bags_of(pl.concat([stored[name], new])) for name, new in encoded.new_bags.items()}
        )
        scores = _scores(run, model, rows)
        for name in singles:
            unknown[name] += int((encoded.frame[name] == 0).sum())
        frames.append(prediction_frame(rows, scores))
        progress.advance(len(rows))
    if not frames:
        first = (
            f"; the first: {rejects[0].source}:{rejects[0].line}: {rejects[0].column} {rejects[0].reason}"
            if rejects
            else ""
        )
        raise DataError(f"no row could be read{first}", hint="a new file must be written as the prepared ones were")
    table = pl.concat(frames)
    unseen = int((table["domain"] >= run.manifest.num_domains).sum())
    table = _told(table, run, raw)
    if output.suffix == ".parquet":
        write_atomically(output, lambda path: table.write_parquet(path))
    else:
        write_atomically(output, lambda path: table.write_csv(path))
    shares = {name: count / table.height for name, count in unknown.items()}
    notable = {name: share for name, share in shares.items() if share > run.manifest.unseen.get(name, 0.0) + NOTABLE}
    return PredictReport(
        output=output, rows=table.height, rejects=tuple(rejects), unseen_domain_rows=unseen, unseen=notable
    )


def _told(table: pl.DataFrame, run: SavedRun, raw: Sequence[Path]) -> pl.DataFrame:
    """Predictions with files and domains by name; a domain that nobody has seen has none."""
    names = domain_names(read_domains(run.data_folder), run.manifest.domain)
    files = pl.Series([path.name for path in raw])
    known = table["domain"].set(table["domain"] >= len(names), None)
    return table.with_columns(files.gather(table["source"]).alias("source"), names.gather(known).alias("domain"))


def _require_output(output: Path) -> None:
    if output.suffix not in (".csv", ".parquet") or output.is_dir():
        raise UsageError(f"{output} is no name of a .csv or .parquet file", hint="such as --output scores.parquet")
    if not output.parent.is_dir():
        raise UsageError(f"there is no folder {output.parent}", hint=f"mkdir -p {output.parent}")


def _scores(run: SavedRun, model: Model, rows: Rows) -> Scores:
    """Score rows as the run's loop does; a loop that adapts before a test gets the training rows."""

    def train() -> Rows:
        found = load_rows(run.data_folder, run.manifest, Split.train, device=rows.field_ids.device)
        return found.with_another_rows_domain(run.job.seed) if run.job.loop.placebo else found

    return LOOPS[run.job.loop.name].scores_of(model, rows, train, run.job.loop)
