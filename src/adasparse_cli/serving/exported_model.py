"""An exported model in Python: `ada.load_artefact(folder)`. Loads polars, and torch only for its engine."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import polars as pl

from adasparse_cli.errors import UsageError
from adasparse_cli.machine.allocator import keep_large_blocks
from adasparse_cli.numpy_engine.values import ValueType
from adasparse_cli.prep.frames import FIRST_LINE, NewRows, as_frame, frame_as_raw, no_scores, scores_in_order
from adasparse_cli.prep.recipe import Silent
from adasparse_cli.raw.raw_files import raw_files
from adasparse_cli.serving.artefact import ENGINES, Artefact, open_artefact
from adasparse_cli.serving.check import Engine, engine_named, run_check
from adasparse_cli.serving.predict import ScoredPart, Scorer, holds_inputs, usual_engine
from adasparse_cli.serving.rows import RawBlock

# Types whose values are taken as they are; others are converted to text, as in a file.
_TAKEN: dict[ValueType, tuple[type[pl.DataType], ...]] = {
    ValueType.text: (pl.String, pl.Boolean, pl.Null),
    ValueType.integer: (pl.String, pl.Null),
    ValueType.number: (pl.String, pl.Null, pl.Float64),
}


class ExportedModel:
    """A folder that `adasparse export` or `Run.export` wrote.

    Args:
        artefact: its files, each of which is checked before use.
    """

    def __init__(self, artefact: Artefact) -> None:
        self._artefact = artefact
        self._engines: dict[str, Engine] = {}

    def __repr__(self) -> str:
        return f"<{self.label}, exported to {self.folder}>"

    @property
    def folder(self) -> Path:
        """Its folder."""
        return self._artefact.folder

    @property
    def label(self) -> str:
        """The model's name with its mode."""
        return str(self._artefact.index["label"])

    @property
    def signature(self) -> Mapping[str, Any]:
        """`inputs` (name, type, whether it is a list) and `outputs`."""
        return dict(self._artefact.index["signature"])

    @property
    def refused(self) -> str | None:
        """The reason why the model has no sub-networks; None if it has."""
        reason: str | None = self._artefact.index["sub_networks"]["refused"]
        return reason

    @property
    def domains(self) -> pl.DataFrame:
        """One row per exported sub-network: domain, training rows, kept neurons by layer, multiply-adds, and how many times fewer."""
        found = self._artefact.index["sub_networks"].get("domains", [])
        names = ("domain", "train_rows", "kept", "multiply_adds", "ratio", "parity")
        kinds = (pl.String, pl.Int64, pl.List(pl.Int64), pl.Int64, pl.Float64, pl.Float64)
        return pl.DataFrame(
            [{name: one[name] for name in names} for one in found], schema=dict(zip(names, kinds, strict=True))
        )

    def predict(self, rows: NewRows, *, engine: str | None = None) -> pl.DataFrame:
        """Scores of new rows, labelled or not.

        Args:
            rows: a polars or pandas frame with the input columns or the columns of the raw data, in any order; or files: a
                path, a pattern, a folder, or several of these.
            engine: `numpy`, `torch` or `onnx`; None for numpy if it can score the model, otherwise torch.

        Returns:
            `domain`, `logit` and `probability` (0–1), for a frame one row for each of its rows, in their order, and null if a
            row cannot be read; for files also `source` and `line`, and only rows that can be read.

        Raises:
            UsageError: the engine cannot score this model.
            DataError: a column is missing, or no row can be read.
            IntegrityError: a file of the folder is missing or differs.
        """
        frame = as_frame(rows)
        scorer = Scorer(self._artefact, self._engine(engine), Silent())
        if frame is None:
            given: Iterable[Any] = [rows] if isinstance(rows, (str, PathLike)) else rows  # type: ignore[assignment]
            return _table(scorer, scorer.parts(raw_files([Path(one) for one in given])))
        if frame.height == 0:
            self._require_columns(frame)
            return no_scores()
        if holds_inputs(self._artefact, frame.columns):
            part = scorer.scored(self._block(frame))
            return scores_in_order(_table(scorer, [] if part is None else [part]), frame.height)
        with tempfile.TemporaryDirectory() as folder:
            raw = frame_as_raw(frame, str(self._artefact.index["data"]["recipe"]), Path(folder))
            return scores_in_order(_table(scorer, scorer.parts([raw])), frame.height)

    def check(self) -> pl.DataFrame:
        """Check every file, and the golden rows with every available engine, like `adasparse export --check`.

        Returns:
            One row per engine: `rows`, the largest differences `logit` and `probability`, and `skipped`, the reason why it was not run.

        Raises:
            IntegrityError: a file is missing or differs, or an engine gives different scores.
        """
        return pl.DataFrame([dataclasses.asdict(one) for one in run_check(self.folder)], infer_schema_length=None)

    def _engine(self, name: str | None) -> Engine:
        if name is not None and name not in ENGINES:
            raise UsageError(f"the engine {name} is unknown", hint=f"one of: {', '.join(ENGINES)}")
        name = name or usual_engine(self._artefact)
        if name not in self._engines:
            keep_large_blocks()
            self._engines[name] = engine_named(self._artefact, name)
        return self._engines[name]

    def _require_columns(self, frame: pl.DataFrame) -> None:
        """Check the columns of a frame without rows, as for one with rows."""
        if not holds_inputs(self._artefact, frame.columns):
            with tempfile.TemporaryDirectory() as folder:
                frame_as_raw(frame, str(self._artefact.index["data"]["recipe"]), Path(folder))

    def _block(self, frame: pl.DataFrame) -> RawBlock:
        """A frame of input columns as raw values."""
        kinds = {one["name"]: ValueType(one["type"]) for one in self._artefact.index["signature"]["inputs"]}
        columns = {name: _values(frame[name], kind) for name, kind in kinds.items()}
        return RawBlock("frame", range(FIRST_LINE, FIRST_LINE + frame.height), columns)


def load_artefact(folder: str | PathLike[str]) -> ExportedModel:
    """Load a folder that `adasparse export` or `Run.export` wrote. Its files are checked when they are used.

    Raises:
        IntegrityError: the folder is no exported model, is damaged, or has a newer format.
    """
    return ExportedModel(open_artefact(Path(folder)))


def _values(column: pl.Series, kind: ValueType) -> list[Any]:
    """The values of a column as JSON has them; whole numbers that are stored as decimals are whole numbers again."""
    own, several = column.dtype, isinstance(column.dtype, (pl.List, pl.Array))
    inner = own.inner if isinstance(own, (pl.List, pl.Array)) else own
    if inner.is_integer() or inner.base_type() in _TAKEN[kind]:
        return column.to_list()
    if kind is ValueType.number:
        # a Float32 as the shortest decimal that it stands for, as a file of texts would have it
        target: type[pl.DataType] = pl.Float64 if inner.is_numeric() and inner != pl.Float32 else pl.String
    else:
        values = column.explode() if several else column
        whole = inner.is_float() and bool((values.is_null() | (values == values.round())).all())
        target = pl.Int64 if whole else pl.String
    return column.cast(pl.List(target) if several else target, strict=False).to_list()


def _table(scorer: Scorer, parts: Iterable[ScoredPart]) -> pl.DataFrame:
    """The scores of parts.

    Raises:
        DataError: no row could be read.
    """
    frames = [part.frame() for part in parts]
    if not frames:
        raise scorer.no_row()
    return pl.concat(frames)
