"""Score rows with a saved run: metrics of a split, or scores of new files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from adasparse_cli.checkpoints.checkpoint import INDEX, load_checkpoint, load_weights
from adasparse_cli.choices import FieldKind, ScoresFormat, Split
from adasparse_cli.errors import DataError, IntegrityError, UsageError
from adasparse_cli.files import write_atomically
from adasparse_cli.findings.cells import marked_texts
from adasparse_cli.foreign import ForeignModuleError
from adasparse_cli.machine.resources import chosen_device, set_threads
from adasparse_cli.metrics import compute_metrics
from adasparse_cli.models.base import DataShape, Model
from adasparse_cli.models.named import source_of
from adasparse_cli.prep.recipe import Progress, Silent, given_files, settings_of_recipe
from adasparse_cli.prepared.files import as_today, open_prepared, truth_file
from adasparse_cli.prepared.place import MANIFEST
from adasparse_cli.prepared.tables import domain_names, read_bags, read_domains, read_split
from adasparse_cli.raw.raw_files import source_names
from adasparse_cli.raw.rejected import Reject, examples
from adasparse_cli.rows.dataset import Rows, bags_of, load_rows, load_shape, rows_of
from adasparse_cli.runs.prepare import PrepJob, require_files
from adasparse_cli.runs.run_results import prediction_frame
from adasparse_cli.runs.saved_run import CONFIG, ENCODER, MODEL_SOURCE, read_config, read_fingerprint, run_file
from adasparse_cli.runs.train_job import TrainJob, build_model, job_of
from adasparse_cli.schema import Manifest
from adasparse_cli.scoring.new_files import encode_rows
from adasparse_cli.scoring.output import require_output
from adasparse_cli.serving.scores_file import kept_names, read_kept, scores_format
from adasparse_cli.training.evaluate import Scores, metrics_of
from adasparse_cli.training.loop import BEST
from adasparse_cli.training.loops import LOOPS
from adasparse_cli.training.row_source import other_rows
from adasparse_cli.typed import plain, typed

# A share of unseen values is reported if it exceeds the share in the test split by more than this.
NOTABLE = 0.1


@dataclass(frozen=True, kw_only=True)
class SavedRun:
    """A run that was opened for scoring.

    Args:
        manifest: manifest of the data that it was trained on.
        encoder: folder of the files that encode new rows as in training. It is inside the run, so that scores never
            change; runs of earlier versions use the folder of the data.
        trained_on: folder in which the data are expected.
    """

    folder: Path
    job: TrainJob
    manifest: Manifest
    encoder: Path
    trained_on: Path

    @cached_property
    def data_folder(self) -> Path:
        """The folder of the data that the run was trained on.

        Raises:
            IntegrityError: the data are gone, or have been replaced.
        """
        if not (self.trained_on / MANIFEST).exists():
            raise IntegrityError(
                f"{self.folder} was trained on {self.trained_on}, which contains no prepared data",
                hint="--data names the directory of prepared data; adasparse predict needs only the run's folder",
            )
        _require_fingerprint(self.folder, self.manifest.fingerprint, self.trained_on, open_prepared(self.trained_on))
        return self.trained_on


@dataclass(frozen=True, kw_only=True)
class EvaluateReport:
    """Metrics of a run's best checkpoint by split, and of the true probabilities if the data are synthetic."""

    run: Path
    metrics: Mapping[str, Mapping[str, Any]]
    best_possible: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class PredictReport:
    """Counts of a prediction: rows written, rejected rows, rows of domains unseen in training.

    Args:
        unseen: share (0–1) of rows with a value unseen in training, by field, if it exceeds the share in the test split by more than NOTABLE.
    """

    output: Path
    rows: int
    rejects: Sequence[Reject]
    unseen_domain_rows: int
    unseen: Mapping[str, float]


def open_run(folder: Path, *, data_root: Path) -> SavedRun:
    """Open a saved run. Its data are searched for in `data_root` only when they are needed.

    Raises:
        IntegrityError: a part is missing or damaged.
    """
    config = read_config(folder)
    try:
        settings = typed(config["data"], settings_of_recipe(str(config["data"]["recipe"])), "data")
        data_folder = data_root / settings.name
        job = job_of(config, PrepJob(settings=settings, raw=(), folder=data_folder))
    except ForeignModuleError:
        raise
    except (KeyError, TypeError, AttributeError, UsageError) as error:
        reason = error.message if isinstance(error, UsageError) else f"{error!r}"
        raise IntegrityError(
            f"{folder / CONFIG} was edited, or is of another version: {reason}", hint="train the run again"
        ) from None
    if config.get(MODEL_SOURCE) not in (None, source_of(str(job.model.name))):
        raise IntegrityError(
            f"the module of {job.model.name} has changed since {folder} was trained, so its scores may differ",
            hint="restore the module, or train a new run",
        )
    if (folder / ENCODER / MANIFEST).exists():
        encoder, manifest = folder / ENCODER, open_prepared(folder / ENCODER)
    else:  # a run of an earlier version
        encoder, manifest = data_folder, open_prepared(data_folder)
        _require_fingerprint(folder, read_fingerprint(folder), data_folder, manifest)
    if plain(settings) != as_today(manifest):
        raise IntegrityError(
            f"{folder / CONFIG} was edited: its section `data` differs from the settings of the prepared data",
            hint=f"restore it; the settings are in {encoder / MANIFEST}",
        )
    return SavedRun(folder=folder, job=job, manifest=manifest, encoder=encoder, trained_on=data_folder)


def _require_fingerprint(run: Path, fingerprint: str, data: Path, manifest: Manifest) -> None:
    if manifest.fingerprint != fingerprint:
        raise IntegrityError(
            f"{run} was trained on data with fingerprint {fingerprint[:12]}, but {data} has fingerprint "
            f"{manifest.fingerprint[:12]}",
            hint="prepare the run's data again in another directory and name it with --data, or train a new run on "
            "the current data",
        )


def trained_model(run: SavedRun) -> tuple[Model, DataShape]:
    """The run's model with its best checkpoint, on the device of its job. Each file is checked before it is read.

    Raises:
        IntegrityError: vocabularies or weights are damaged, or their shapes do not match.
    """
    shape = load_shape(run.encoder, run.manifest)
    model = build_model(run.job, shape)
    run_file(run.folder, f"{BEST}/{INDEX}")
    tensors, _ = load_checkpoint(run.folder / BEST)
    load_weights(model, tensors, where=run.folder / BEST)
    return model.to(chosen_device(run.job.device)).eval(), shape


def run_evaluate(run: SavedRun, *, splits: Sequence[Split] = (Split.valid, Split.test)) -> EvaluateReport:
    """Score the splits with the best checkpoint and compute their metrics."""
    set_threads(run.job.threads)
    model, _ = trained_model(run)
    metrics, best_possible = {}, {}
    for split in splits:
        if split not in run.manifest.splits or run.manifest.splits[split].rows == 0:
            available = ", ".join(name for name, counts in run.manifest.splits.items() if counts.rows)
            raise DataError(f"{run.manifest.name} has no {split} split", hint=f"--split takes one of: {available}")
        rows = other_rows(run.data_folder, run.manifest, split, run.job.loop, device=model.device, progress=Silent())
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
    """Metrics of the true probabilities, the best that a model can reach; None if they are unknown."""
    path = truth_file(data_folder, manifest, "rows.parquet")
    if path is None:
        return None
    rows = read_split(data_folder, manifest, split)
    truth = pl.read_parquet(path, glob=False).rename({"line": "__line"})
    known = rows.select("__line").join(truth, on="__line", how="left", maintain_order="left")["probability"].to_numpy()
    users = rows["__user"].to_numpy() if "__user" in rows.columns else None
    logits = np.log(known) - np.log1p(-known)
    metrics = compute_metrics(
        rows["__label"].to_numpy(), logits, rows["__domain"].to_numpy(), manifest.num_all_domains, users
    )
    return metrics.to_json()


@dataclass(frozen=True, kw_only=True)
class Scored:
    """New rows with their scores.

    Args:
        table: source, line, domain by name, label if known, logit, probability; one row per accepted row.
        rejects: rejected rows.
        unseen_domain_rows: as in `PredictReport`.
        unseen: as in `PredictReport`.
    """

    table: pl.DataFrame
    rejects: Sequence[Reject]
    unseen_domain_rows: int
    unseen: Mapping[str, float]


def files_to_score(run: SavedRun, given: Sequence[str | Path]) -> tuple[Path, ...]:
    """The files to score for a run, from files, folders, patterns, or names that the recipe of its data knows.

    Raises:
        DataError: a folder contains no table, or a file of the recipe is missing.
    """
    settings = typed(as_today(run.manifest), settings_of_recipe(run.manifest.recipe), "data")
    return given_files(settings.as_prepared(run.manifest.fields), given)


def run_predict(
    run: SavedRun,
    raw: Sequence[Path],
    output: Path,
    progress: Progress | None = None,
    *,
    overwrite: bool = False,
    keep: Sequence[str] = (),
    form: ScoresFormat | None = None,
) -> PredictReport:
    """Score new files and write one row per accepted row: source, line, domain, logit and probability.

    Args:
        overwrite: whether an existing output may be replaced.
        keep: columns of the files that are copied to the output.
        form: format of the output; None derives it from the name.

    Raises:
        UsageError: the output cannot be written, or would replace a file.
        DataError: a file cannot be read, or has no rows.
    """
    require_files(raw)
    form, names = scores_format(output, form), kept_names(keep)
    _require_folder(output)
    require_output(output, inputs=raw, overwrite=overwrite)
    scored = score_files(run, raw, progress)
    table = _with_kept(scored.table, run, raw, names) if names else scored.table
    write: Mapping[ScoresFormat, Callable[[Path], None]] = {
        ScoresFormat.parquet: lambda path: table.write_parquet(path),
        ScoresFormat.ndjson: lambda path: table.write_ndjson(path),
        ScoresFormat.csv: lambda path: marked_texts(_flat(table)).write_csv(path),
    }
    write_atomically(output, write[form])
    return PredictReport(
        output=output,
        rows=scored.table.height,
        rejects=scored.rejects,
        unseen_domain_rows=scored.unseen_domain_rows,
        unseen=scored.unseen,
    )


def _with_kept(table: pl.DataFrame, run: SavedRun, raw: Sequence[Path], names: Mapping[str, str]) -> pl.DataFrame:
    """Insert columns of the raw files after `line`. Rows are matched by file and line."""
    settings = {**plain(run.job.data.settings), "recipe": run.manifest.recipe}
    parts = []
    for path, source in zip(raw, source_names(raw), strict=True):
        scores = table.filter(pl.col("source") == source)
        values_of_line = read_kept(path, source, list(names), settings)
        rows = [values_of_line.get(line, (None,) * len(names)) for line in scores["line"].to_list()]
        columns = zip(*rows, strict=True) if rows else [()] * len(names)
        kept = [pl.Series(name, values, strict=False) for name, values in zip(names.values(), columns, strict=True)]
        parts.append(scores.select("source", "line", *kept, pl.exclude("source", "line")))
    return pl.concat(parts, how="diagonal_relaxed")


def _flat(table: pl.DataFrame) -> pl.DataFrame:
    """A frame for CSV, with lists and mappings as JSON."""
    nested = [name for name, kind in table.schema.items() if kind.is_nested()]
    texts = {
        name: [
            None if value is None else json.dumps(value, ensure_ascii=False, default=str)
            for value in table[name].to_list()
        ]
        for name in nested
    }
    return table.with_columns(pl.Series(name, values, dtype=pl.String) for name, values in texts.items())


def score_files(run: SavedRun, raw: Sequence[Path], progress: Progress | None = None) -> Scored:
    """Score new files, labelled or not.

    Values unseen in training get id 0, as in preparation. Rows that cannot be read are rejected and counted.

    Raises:
        DataError: a file cannot be read, or has no rows.
    """
    progress = progress or Silent()
    set_threads(run.job.threads)
    model, shape = trained_model(run)
    frames: list[pl.DataFrame] = []
    rejects: list[Reject] = []
    singles = [field.name for field in run.manifest.fields if field.kind is not FieldKind.multi_valued]
    unknown = dict.fromkeys(singles, 0)
    progress.start("scoring", None, "rows")
    for encoded in new_rows(run, model, shape, raw):
        rejects += encoded.rejects
        if encoded.rows is None:
            continue
        scores = _scores(run, model, encoded.rows)
        for name in singles:
            unknown[name] += int((encoded.frame[name] == 0).sum())
        frames.append(prediction_frame(encoded.rows, scores))
        progress.advance(len(encoded.rows))
    if not frames:
        why = f"; {len(rejects):,} were rejected: {examples(rejects)}" if rejects else ""
        raise DataError(f"no row could be read{why}", hint="new files must have the format of the prepared files")
    # a block has labels only if all of its rows have one
    table = pl.concat(frames, how="diagonal")
    unseen = int((table["domain"] >= run.manifest.num_domains).sum())
    shares = {name: count / table.height for name, count in unknown.items()}
    notable = {name: share for name, share in shares.items() if share > run.manifest.unseen.get(name, 0.0) + NOTABLE}
    return Scored(table=named_rows(table, run, raw), rejects=tuple(rejects), unseen_domain_rows=unseen, unseen=notable)


@dataclass(frozen=True, kw_only=True)
class NewRows:
    """A block of encoded rows. Its bags are set in the model. `rows` is None if no row could be read."""

    frame: pl.DataFrame
    rows: Rows | None
    rejects: Sequence[Reject]


def new_rows(run: SavedRun, model: Model, shape: DataShape, raw: Sequence[Path]) -> Iterator[NewRows]:
    """The rows of new files in blocks, encoded for the run's model."""
    stored = {name: read_bags(run.encoder, run.manifest, name) for name in shape.bags}
    for encoded in encode_rows(run.encoder, run.manifest, run.job.data.settings, raw):
        rows = None
        if encoded.frame.height:
            rows = rows_of([encoded.frame], run.manifest.fields, rows=encoded.frame.height, device=model.device)
            rows = rows.with_another_rows_domain(run.job.seed) if run.job.loop.placebo else rows
            model.set_bags({name: bags_of(pl.concat([stored[name], new])) for name, new in encoded.new_bags.items()})
        yield NewRows(frame=encoded.frame, rows=rows, rejects=encoded.rejects)


def named_rows(table: pl.DataFrame, run: SavedRun, raw: Sequence[Path]) -> pl.DataFrame:
    """Rows with files and domains by name. Domains unseen in preparation have no name."""
    names = domain_names(read_domains(run.encoder, run.manifest), run.manifest.domain)
    files = pl.Series(source_names(raw))
    known = table["domain"].set(table["domain"] >= len(names), None)
    return table.with_columns(files.gather(table["source"]).alias("source"), names.gather(known).alias("domain"))


def _require_folder(output: Path) -> None:
    if not output.parent.is_dir():
        raise UsageError(f"the folder {output.parent} does not exist", hint=f"mkdir -p {output.parent}")


def _scores(run: SavedRun, model: Model, rows: Rows) -> Scores:
    """Score rows as the run's loop does. A loop that adapts before a test reads the training rows."""

    def training_rows() -> Rows:
        train = load_rows(run.data_folder, run.manifest, Split.train, device=rows.field_ids.device)
        return train.with_another_rows_domain(run.job.seed) if run.job.loop.placebo else train

    return LOOPS[run.job.loop.name].scores_of(model, rows, training_rows, run.job.loop)
