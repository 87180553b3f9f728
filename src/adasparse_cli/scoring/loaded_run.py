"""A finished run as an object: its settings, metrics and domains, its model, and scores for new rows."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import polars as pl

from adasparse_cli.errors import DataError, UsageError
from adasparse_cli.models.adasparse import AdaSparse
from adasparse_cli.models.base import DataShape, Model
from adasparse_cli.prep.frames import NewRows, as_frame, frame_as_raw, no_scores, scores_in_order
from adasparse_cli.runs.chosen import ChosenRun
from adasparse_cli.runs.prepare import require_files
from adasparse_cli.runs.run_tables import read_domain_rows, read_predictions
from adasparse_cli.runs.saved_run import DOMAINS, read_report, run_file
from adasparse_cli.scoring.score import (
    SavedRun,
    Scored,
    files_to_score,
    named_rows,
    new_rows,
    open_run,
    score_files,
    trained_model,
)
from adasparse_cli.serving.artefact import open_artefact
from adasparse_cli.serving.exported_model import ExportedModel


class Run:
    """A finished run.

    Args:
        chosen: the run's folder, with remarks on its results.
        data_root: the folder of prepared data. Only `evaluate` and MAML's adaptation before a test read it.
    """

    def __init__(self, chosen: ChosenRun, *, data_root: Path) -> None:
        self._chosen, self._data_root = chosen, data_root

    def __repr__(self) -> str:
        return f"<{self._chosen.line}>"

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self._chosen.folder

    @property
    def words(self) -> tuple[str, ...]:
        """The settings that differ from the packaged ones, as `key=value`."""
        return self._chosen.settings or ()

    @property
    def remarks(self) -> tuple[str, ...]:
        """Remarks on the results, for example that this is a control arm."""
        return self._chosen.remarks

    @cached_property
    def report(self) -> Mapping[str, Any]:
        """report.json: settings, data, cost, timings, metrics, sparsity."""
        return read_report(self.folder)

    @property
    def metrics(self) -> Mapping[str, Mapping[str, float | None]]:
        """Metrics by split (`valid`, `test`): `auc`, `gauc_domain`, `log_loss` and others."""
        return dict(self.report["metrics"])

    @cached_property
    def domains(self) -> pl.DataFrame:
        """One row per domain: its key, rows, metrics on the test split, and the sparsity of each layer."""
        return read_domain_rows(run_file(self.folder, DOMAINS))

    @cached_property
    def predictions(self) -> pl.DataFrame:
        """The scores of the test split: source, line, domain, label, logit, probability."""
        return read_predictions(self.folder)

    @cached_property
    def _saved(self) -> SavedRun:
        return open_run(self.folder, data_root=self._data_root)

    @cached_property
    def _loaded(self) -> tuple[Model, DataShape]:
        return trained_model(self._saved)

    @property
    def model(self) -> Model:
        """The model with the best checkpoint, a `torch.nn.Module` in evaluation mode."""
        return self._loaded[0]

    def predict(self, rows: NewRows) -> pl.DataFrame:
        """Scores of new rows, labelled or not.

        Args:
            rows: a polars or pandas frame with the columns of the run's raw data, in any order; or raw files: a path,
                a pattern, a folder, or several of these.

        Returns:
            `domain`, `logit` and `probability` (0–1). For a frame: one row per input row, in the same order, with nulls for
            rejected rows. For files: also `source` and `line`, without rejected rows.

        Raises:
            DataError: a column is missing, or no row can be read.
        """
        frame = as_frame(rows)
        if frame is None:
            return self._scored(_paths(self._saved, rows)).table
        if frame.height == 0:
            return no_scores()
        with tempfile.TemporaryDirectory() as folder:
            return scores_in_order(self._scored([self._as_raw(frame, Path(folder))]).table, frame.height)

    def export(
        self,
        folder: str | PathLike[str],
        *,
        domains: str | Sequence[str] | None = None,
        onnx: bool = False,
        overwrite: bool = False,
    ) -> ExportedModel:
        """Write the run as a folder that predicts without this run, like `adasparse export`.

        Args:
            folder: the folder to write.
            domains: whose sub-networks to write: `all`, `top:N` or keys; None for all if the model has any.
            onnx: whether to write `model.onnx` and `domains.onnx` (extra `export`).
            overwrite: whether an exported folder may be replaced.

        Raises:
            UsageError: the run cannot be exported, a domain is unknown, or the folder exists.
            IntegrityError: a part of the run is missing or damaged, or a sub-network differs from the model.
        """
        from adasparse_cli.scoring.export import run_export

        words = [domains] if isinstance(domains, str) else domains
        report = run_export(self._saved, Path(folder), domains=words, graph=onnx, overwrite=overwrite)
        return ExportedModel(open_artefact(report.folder))

    def factors(self, rows: NewRows) -> pl.DataFrame:
        """The weight factors π of each gated layer for new rows.

        π = β·σ(α·v) in the mode scaling, 1[|σ(α·v)| > ε] in binarization, their product in fusion. A neuron with factor 0
        is pruned.

        Args:
            rows: as in `predict`.

        Returns:
            One row per accepted input row and gated layer: `source`, `line`, `domain`, `layer`, `factors` (a list with one
            number per neuron) and `sparsity`, the share (0–1) of zeros.

        Raises:
            UsageError: the run's model has no weight factors.
            DataError: as in `predict`.
        """
        model, shape = self._loaded
        if not isinstance(model, AdaSparse):
            raise UsageError(
                f"{self.report['model']} has no weight factors", hint="load a run of AdaSparse: load_run('adasparse')"
            )
        frame = as_frame(rows)
        with tempfile.TemporaryDirectory() as folder:
            raw = _paths(self._saved, rows) if frame is None else [self._as_raw(frame, Path(folder))]
            require_files(raw)
            parts = []
            for block in new_rows(self._saved, model, shape, raw):
                if block.rows is None:
                    continue
                batch = block.rows.batch(slice(0, len(block.rows)))
                place = pl.DataFrame(
                    {"source": block.rows.sources, "line": block.rows.lines, "domain": block.rows.domains}
                )
                for layer, own in zip(model.gated_layers, model.factors(batch), strict=True):
                    values = own.cpu().numpy()
                    parts.append(
                        place.with_columns(
                            pl.lit(layer).alias("layer"),
                            pl.Series("factors", values.tolist(), dtype=pl.List(pl.Float64)),
                            pl.Series("sparsity", (values == 0).mean(axis=1)),
                        )
                    )
            if not parts:
                raise DataError("no row could be read", hint="the rows must have the columns of the run's raw data")
            return named_rows(pl.concat(parts), self._saved, raw).sort("source", "line", maintain_order=True)

    def _scored(self, raw: Sequence[Path]) -> Scored:
        require_files(raw)
        return score_files(self._saved, raw)

    def _as_raw(self, frame: pl.DataFrame, folder: Path) -> Path:
        """Write a frame as a raw file, so that the run's recipe reads frames and files the same way."""
        return frame_as_raw(frame, self._saved.manifest.recipe, folder)


def _paths(run: SavedRun, rows: Any) -> list[Path]:
    given: Iterable[Any] = [rows] if isinstance(rows, (str, PathLike)) else rows
    return list(files_to_score(run, [Path(path) for path in given]))
