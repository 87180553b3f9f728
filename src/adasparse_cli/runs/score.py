"""What a saved run makes of rows: its metrics on a split, or scores for a new file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from adasparse_cli.choices import FieldKind, ScoresFormat, Split
from adasparse_cli.errors import DataError, IntegrityError, UsageError
from adasparse_cli.files import write_atomically
from adasparse_cli.findings.cells import marked_texts
from adasparse_cli.foreign import ForeignModuleError
from adasparse_cli.metrics import compute_metrics
from adasparse_cli.models.base import DataShape, Model
from adasparse_cli.models.named import source_of
from adasparse_cli.prep.place import MANIFEST
from adasparse_cli.prep.prepared import encode_rows
from adasparse_cli.prep.prepared_files import as_today, open_prepared, truth_file
from adasparse_cli.prep.prepared_tables import domain_names, read_bags, read_domains, read_split
from adasparse_cli.prep.recipe import Progress, Silent, given_files, settings_of_recipe
from adasparse_cli.raw.raw_files import source_names
from adasparse_cli.raw.rejected import Reject, examples
from adasparse_cli.runs.output import require_output
from adasparse_cli.runs.prepare import PrepJob, require_files
from adasparse_cli.runs.run_results import prediction_frame
from adasparse_cli.runs.saved_run import CONFIG, ENCODER, MODEL_SOURCE, read_config, read_fingerprint, run_file
from adasparse_cli.runs.train_job import TrainJob, build_model, job_of
from adasparse_cli.schema import Manifest
from adasparse_cli.serving.scores_file import kept_names, read_kept, scores_format
from adasparse_cli.training.checkpoint import INDEX, load_checkpoint, load_weights
from adasparse_cli.training.dataset import Rows, bags_of, load_rows, load_shape, rows_of
from adasparse_cli.training.evaluate import Scores, metrics_of
from adasparse_cli.training.loop import BEST
from adasparse_cli.training.loops import LOOPS
from adasparse_cli.training.machine import chosen_device, set_threads
from adasparse_cli.training.row_source import other_rows
from adasparse_cli.typed import plain, typed

# How much larger than in the test split a share of unknown values must be to be told.
NOTABLE = 0.1


@dataclass(frozen=True, kw_only=True)
class SavedRun:
    """A run that is opened again.

    Args:
        manifest: of the data that it was trained on.
        encoder: folder of the files that encode new rows as those of training; the run's own, so that it says the same
            for ever, or for a run of an earlier version the data's.
        trained_on: where the data were.
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
                f"{self.trained_on} holds no prepared data; {self.folder} was trained on them",
                hint="--data names the folder of the prepared data; adasparse predict needs only the run's folder",
            )
        _require_fingerprint(self.folder, self.manifest.fingerprint, self.trained_on, open_prepared(self.trained_on))
        return self.trained_on


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
    """A saved run. Its data are looked for below `data_root` once they are needed.

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
        what = error.message if isinstance(error, UsageError) else f"{error!r}"
        raise IntegrityError(
            f"{folder / CONFIG} was edited, or is of another version: {what}", hint="train the run anew"
        ) from None
    if config.get(MODEL_SOURCE) not in (None, source_of(str(job.model.name))):
        raise IntegrityError(
            f"the module of {job.model.name} has changed since {folder} was trained: scores would be those of another model",
            hint="restore the module, or train a new run",
        )
    if (folder / ENCODER / MANIFEST).exists():
        encoder, manifest = folder / ENCODER, open_prepared(folder / ENCODER)
    else:  # a run of an earlier version
        encoder, manifest = data_folder, open_prepared(data_folder)
        _require_fingerprint(folder, read_fingerprint(folder), data_folder, manifest)
    if plain(settings) != as_today(manifest):
        raise IntegrityError(
            f"{folder / CONFIG} was edited: its section `data` is not what the data were prepared with",
            hint=f"restore it; the settings are in {encoder / MANIFEST}",
        )
    return SavedRun(folder=folder, job=job, manifest=manifest, encoder=encoder, trained_on=data_folder)


def _require_fingerprint(run: Path, fingerprint: str, data: Path, manifest: Manifest) -> None:
    if manifest.fingerprint != fingerprint:
        raise IntegrityError(
            f"{run} was trained on data of fingerprint {fingerprint[:12]}; {data} holds data of fingerprint "
            f"{manifest.fingerprint[:12]}",
            hint="prepare the run's data again under another name or folder, and name it with --data; "
            "or train a new run on the data as they are",
        )


def trained_model(run: SavedRun) -> tuple[Model, DataShape]:
    """The run's model with its best weights, on the device of its job; each file is checked before it is read.

    Raises:
        IntegrityError: vocabularies or weights are damaged, or do not fit.
    """
    shape = load_shape(run.encoder, run.manifest)
    model = build_model(run.job, shape)
    run_file(run.folder, f"{BEST}/{INDEX}")
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
    """Metrics of the true probabilities, which no model can beat but by chance; None where nobody knows them."""
    path = truth_file(data_folder, manifest, "rows.parquet")
    if path is None:
        return None
    rows = read_split(data_folder, manifest, split)
    truth = pl.read_parquet(path, glob=False).rename({"line": "__line"})
    known = rows.select("__line").join(truth, on="__line", how="left", maintain_order="left")["probability"].to_numpy()
    users = rows["__user"].to_numpy() if "__user" in rows.columns else None
    logits = np.log(known) - np.log1p(-known)
    found = compute_metrics(
        rows["__label"].to_numpy(), logits, rows["__domain"].to_numpy(), manifest.num_all_domains, users
    )
    return found.to_json()


@dataclass(frozen=True, kw_only=True)
class Scored:
    """New rows with their scores.

    Args:
        table: source, line, domain by name, label where there is one, logit, probability; a line per row that can be read.
        rejects: rows set aside. unseen_domain_rows, unseen: as in `PredictReport`.
    """

    table: pl.DataFrame
    rejects: Sequence[Reject]
    unseen_domain_rows: int
    unseen: Mapping[str, float]


def files_to_score(run: SavedRun, given: Sequence[str | Path]) -> tuple[Path, ...]:
    """The files that a person means for a run: files, folders, patterns, or what the recipe of its data knows by name.

    Raises:
        DataError: a folder holds no table, or a file of the recipe is missing.
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
    """Score new files and write one line per row: where it stood, its domain, its probability.

    Args:
        overwrite: whether an output that exists may be replaced.
        keep: columns of the files that are copied to the output. form: of the output; None for what its name says.

    Raises:
        UsageError: the output cannot be written there, or something would be lost.
        DataError: a file cannot be read, or holds no row.
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
    """Scores with columns of the raw files, behind the line; a row is found by its file and line."""
    settings = {**plain(run.job.data.settings), "recipe": run.manifest.recipe}
    parts = []
    for path, source in zip(raw, source_names(raw), strict=True):
        own = table.filter(pl.col("source") == source)
        known = read_kept(path, source, list(names), settings)
        rows = [known.get(line, (None,) * len(names)) for line in own["line"].to_list()]
        columns = zip(*rows, strict=True) if rows else [()] * len(names)
        kept = [pl.Series(name, values, strict=False) for name, values in zip(names.values(), columns, strict=True)]
        parts.append(own.select("source", "line", *kept, pl.exclude("source", "line")))
    return pl.concat(parts, how="diagonal_relaxed")


def _flat(table: pl.DataFrame) -> pl.DataFrame:
    """A frame that CSV can hold: lists and mappings as JSON."""
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

    Values that training did not see get id 0, as they do in preparation; rows that cannot be read are
    set aside and counted.

    Raises:
        DataError: a file cannot be read, or holds no row.
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
        raise DataError(f"no row could be read{why}", hint="a new file must be written as the prepared ones were")
    # a block has labels where all of its rows have one
    table = pl.concat(frames, how="diagonal")
    unseen = int((table["domain"] >= run.manifest.num_domains).sum())
    shares = {name: count / table.height for name, count in unknown.items()}
    notable = {name: share for name, share in shares.items() if share > run.manifest.unseen.get(name, 0.0) + NOTABLE}
    return Scored(table=named_rows(table, run, raw), rejects=tuple(rejects), unseen_domain_rows=unseen, unseen=notable)


@dataclass(frozen=True, kw_only=True)
class NewRows:
    """A block of new rows, ready for the model: its bags are in the model's tables. `rows` is None where none can be read."""

    frame: pl.DataFrame
    rows: Rows | None
    rejects: Sequence[Reject]


def new_rows(run: SavedRun, model: Model, shape: DataShape, raw: Sequence[Path]) -> Iterator[NewRows]:
    """New files, block by block, as the run's model reads them."""
    stored = {name: read_bags(run.encoder, run.manifest, name) for name in shape.bags}
    for encoded in encode_rows(run.encoder, run.manifest, run.job.data.settings, raw):
        rows = None
        if encoded.frame.height:
            rows = rows_of([encoded.frame], run.manifest.fields, rows=encoded.frame.height, device=model.device)
            rows = rows.with_another_rows_domain(run.job.seed) if run.job.loop.placebo else rows
            model.set_bags({name: bags_of(pl.concat([stored[name], new])) for name, new in encoded.new_bags.items()})
        yield NewRows(frame=encoded.frame, rows=rows, rejects=encoded.rejects)


def named_rows(table: pl.DataFrame, run: SavedRun, raw: Sequence[Path]) -> pl.DataFrame:
    """Rows with files and domains by name; a domain that nobody has seen has none."""
    names = domain_names(read_domains(run.encoder, run.manifest), run.manifest.domain)
    files = pl.Series(source_names(raw))
    known = table["domain"].set(table["domain"] >= len(names), None)
    return table.with_columns(files.gather(table["source"]).alias("source"), names.gather(known).alias("domain"))


def _require_folder(output: Path) -> None:
    if not output.parent.is_dir():
        raise UsageError(f"there is no folder {output.parent}", hint=f"mkdir -p {output.parent}")


def _scores(run: SavedRun, model: Model, rows: Rows) -> Scores:
    """Score rows as the run's loop does; a loop that adapts before a test gets the training rows."""

    def train() -> Rows:
        found = load_rows(run.data_folder, run.manifest, Split.train, device=rows.field_ids.device)
        return found.with_another_rows_domain(run.job.seed) if run.job.loop.placebo else found

    return LOOPS[run.job.loop.name].scores_of(model, rows, train, run.job.loop)
