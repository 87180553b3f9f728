"""Scores new files with an exported model."""

from __future__ import annotations

import csv
import io
import itertools
import json
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from adasparse_cli.choices import FieldKind, ScoresFormat, nearest_names
from adasparse_cli.errors import DataError, UsageError
from adasparse_cli.files import write_atomically
from adasparse_cli.findings.finding import marked
from adasparse_cli.machine.allocator import keep_large_blocks
from adasparse_cli.numpy_engine.dense import sigmoid
from adasparse_cli.numpy_engine.encoder import EncodedRows
from adasparse_cli.raw.raw_files import source_names
from adasparse_cli.raw.rejected import Reject, examples
from adasparse_cli.serving.artefact import ENGINES, Artefact
from adasparse_cli.serving.check import Engine, engine_named
from adasparse_cli.serving.rows import PlainFile, RawBlock
from adasparse_cli.serving.scores_file import json_line, kept_names, read_kept, scores_format

if TYPE_CHECKING:
    import polars as pl

# Ratio to the share of unseen values in the test split from which a share is reported.
NOTABLE = 0.1
# Fields that the tabular recipe derives from its timestamp, even if columns have these names.
_OF_TIMES = ("hour", "weekday")


def holds_inputs(artefact: Artefact, columns: Collection[str]) -> bool:
    """Whether columns are the input fields, so that the data's recipe is not needed."""
    inputs = artefact.encoder.inputs
    timestamp = (
        artefact.index["data"]["settings"].get("timestamp") if any(name in inputs for name in _OF_TIMES) else None
    )
    return set(columns).issuperset(inputs) and timestamp not in columns


class Progress(Protocol):
    """Receives the progress of scoring."""

    def start(self, what: str, total: int | None, unit: str) -> None: ...

    def advance(self, amount: int, detail: Mapping[str, float] | None = None) -> None: ...


@dataclass(frozen=True, kw_only=True)
class ScoredFile:
    """The result of scoring.

    Args:
        rejects: rows that could not be scored.
        unseen: per field the share (0–1) of rows with a value unseen in training, if NOTABLE more than in the test split.
        seconds: of reading, encoding, scoring and writing. scoring_seconds: of the engine only.
    """

    output: Path
    engine: str
    rows: int
    rejects: Sequence[Reject]
    unseen_domain_rows: int
    unseen: Mapping[str, float]
    seconds: float
    scoring_seconds: float


def usual_engine(artefact: Artefact) -> str:
    """NumPy if it can score the model, otherwise torch."""
    return "numpy" if artefact.why_not("numpy") is None else "torch"


def predict_files(
    artefact: Artefact,
    files: Sequence[Path],
    output: Path,
    progress: Progress,
    *,
    engine: str | None = None,
    keep: Sequence[str] = (),
    form: ScoresFormat | None = None,
) -> ScoredFile:
    """Score labelled or unlabelled files. Write one line per row: its position, its domain, its logit and probability.

    Args:
        engine: one of ENGINES; None for the default.
        keep: columns of the files that are copied to the output. form: of the output; None to use its name.

    Raises:
        UsageError: the engine cannot score this model, or the output cannot be written.
        DataError: a file cannot be read, has a missing field, or has no row.
        IntegrityError: a file of the artefact is missing or differs.
    """
    if engine is not None and engine not in ENGINES:
        raise UsageError(f"--engine {engine} is unknown", hint=f"one of: {', '.join(ENGINES)}")
    form, names = scores_format(output, form), kept_names(keep)
    keep_large_blocks()
    started = time.perf_counter()
    scorer = Scorer(artefact, engine_named(artefact, engine or usual_engine(artefact)), progress, names)
    progress.start("scoring", None, "rows")
    parts = scorer.parts(files)
    first = next(parts, None)
    if first is None:
        raise scorer.no_row()
    write = {
        ScoresFormat.csv: _write_csv,
        ScoresFormat.parquet: _write_parquet,
        ScoresFormat.ndjson: _write_ndjson,
    }[form]
    write_atomically(output, lambda path: write(path, first, parts))
    known = artefact.index.get("unseen", {})
    shares = {name: count / scorer.rows for name, count in scorer.unknown.items()}
    return ScoredFile(
        output=output,
        engine=scorer.engine.name,
        rows=scorer.rows,
        rejects=scorer.rejects,
        unseen_domain_rows=scorer.unseen_domain_rows,
        unseen={name: share for name, share in shares.items() if share > known.get(name, 0.0) + NOTABLE},
        seconds=time.perf_counter() - started,
        scoring_seconds=scorer.seconds,
    )


@dataclass(frozen=True)
class ScoredPart:
    """Some scored rows."""

    source: str
    lines: np.ndarray
    kept: Mapping[str, Sequence[Any]]
    domains: list[str | None]
    logits: np.ndarray
    probabilities: np.ndarray

    def frame(self) -> pl.DataFrame:
        """The rows as a polars frame: source, line, kept columns, domain, logit, probability."""
        import polars as pl  # only for Parquet and Python

        return pl.DataFrame(
            {
                "source": pl.Series([self.source], dtype=pl.String).new_from_index(0, len(self.lines)),
                "line": self.lines,
                **{name: pl.Series(values, strict=False) for name, values in self.kept.items()},
                "domain": pl.Series(self.domains, dtype=pl.String),
                "logit": self.logits,
                "probability": self.probabilities,
            }
        )


@dataclass
class Scorer:
    """Reads, encodes and scores block by block, and counts.

    Args:
        names: kept columns of the files, and their names in the output.
    """

    artefact: Artefact
    engine: Engine
    progress: Progress
    names: Mapping[str, str] = field(default_factory=dict)
    rejects: list[Reject] = field(default_factory=list)
    rows: int = 0
    unseen_domain_rows: int = 0
    seconds: float = 0.0
    unknown: dict[str, int] = field(default_factory=dict)
    _names: dict[int, str | None] = field(default_factory=dict)

    def parts(self, files: Sequence[Path]) -> Iterator[ScoredPart]:
        """The scored rows, in the files' order."""
        for block in raw_blocks(self.artefact, files, self.rejects, keep=list(self.names)):
            part = self.scored(block)
            if part is not None:
                yield part

    def no_row(self) -> DataError:
        """The error for input without a row that can be scored."""
        why = f"; {len(self.rejects):,} were rejected: {examples(self.rejects)}" if self.rejects else ""
        inputs = ", ".join(self.artefact.encoder.inputs)
        return DataError(f"no row could be read{why}", hint=f"the input columns are {inputs}")

    def scored(self, block: RawBlock) -> ScoredPart | None:
        """The rows of a block that can be scored; None if there are none. The others are added to `rejects`."""
        encoder = self.artefact.encoder
        rows, faults = encoder.encode(block.columns)
        lines, copied = np.asarray(block.lines), {self.names[name]: own for name, own in block.kept.items()}
        if faults:
            bad = {fault.place: fault for fault in reversed(faults)}
            for place in sorted(bad):
                fault = bad[place]
                self.rejects.append(
                    Reject(
                        source=block.source,
                        line=int(lines[place]),
                        column=fault.column,
                        value=fault.value,
                        reason=fault.reason,
                    )
                )
            kept = np.setdiff1d(np.arange(len(lines)), list(bad))
            rows, lines = rows.take(kept), lines[kept]
            copied = {name: [values[place] for place in kept] for name, values in copied.items()}
        if len(rows) == 0:
            return None
        started = time.perf_counter()
        logits = self.engine.logits(rows)
        self.seconds += time.perf_counter() - started
        self._count(rows)
        self.progress.advance(len(rows))
        return ScoredPart(block.source, lines, copied, self._domains(rows), logits, sigmoid(logits.astype(np.float64)))

    def _count(self, rows: EncodedRows) -> None:
        self.rows += len(rows)
        self.unseen_domain_rows += int((rows.domains >= self.artefact.index["domain"]["num_domains"]).sum())
        for place, one in enumerate(self.artefact.fields):
            if one.kind is not FieldKind.multi_valued:
                self.unknown[one.name] = self.unknown.get(one.name, 0) + int((rows.ids[:, place] == 0).sum())

    def _domains(self, rows: EncodedRows) -> list[str | None]:
        names = self._names
        for number in np.unique(rows.domains).tolist():
            if number not in names:
                names[number] = self.artefact.encoder.name_of(number)
        return [names[number] for number in rows.domains.tolist()]


def raw_blocks(
    artefact: Artefact, files: Sequence[Path], rejects: list[Reject], *, keep: Sequence[str] = ()
) -> Iterator[RawBlock]:
    """The rows of files. Files whose columns are the input fields are read directly, others with the data's recipe.

    Args:
        keep: additional columns to read, unchanged.

    Raises:
        DataError: a file cannot be read, or has a missing field.
    """
    inputs = artefact.encoder.inputs
    settings = artefact.index["data"]["settings"]
    plain = [
        PlainFile(path, name, inputs, settings.get("separator"), rejects)
        for path, name in zip(files, source_names(files), strict=True)
    ]
    columns = [_columns(file, str(settings.get("encoding", "utf-8"))) for file in plain]
    if all(holds_inputs(artefact, own) for own in columns) and not settings.get("quoted_newlines"):
        for file in plain:
            yield from _with_kept(file.blocks(), file.path, file.name, keep, settings)
        return
    _require_inputs(artefact, files[0], columns[0])
    from adasparse_cli.serving.recipe_rows import recipe_blocks  # loads polars

    named = {name: (path, name) for path, name in zip(files, source_names(files), strict=True)}
    blocks = recipe_blocks(artefact, files, rejects)
    for source, own in itertools.groupby(blocks, lambda block: block.source):
        yield from _with_kept(own, *named[source], keep, {**settings, "recipe": artefact.index["data"]["recipe"]})


def _with_kept(
    blocks: Iterable[RawBlock], path: Path, name: str, keep: Sequence[str], settings: Mapping[str, Any]
) -> Iterator[RawBlock]:
    """The blocks of a file, with the columns to keep."""
    if not keep:
        yield from blocks
        return
    known = read_kept(path, name, keep, settings)
    none = (None,) * len(keep)
    for block in blocks:
        rows = [known.get(int(line), none) for line in block.lines]
        yield replace(block, kept=dict(zip(keep, map(list, zip(*rows, strict=True)), strict=True)))


def _columns(file: PlainFile, encoding: str) -> set[str]:
    """The columns of a table; none if it has the encoding of the raw files, which the recipe reads."""
    try:
        return set(file.columns() or ())
    except DataError:
        if encoding == "utf-8":
            raise
        return set()


def _require_inputs(artefact: Artefact, path: Path, columns: Collection[str]) -> None:
    """Check that a table of input fields is complete. A recipe for another format would name the columns of that format instead.

    Raises:
        DataError: most fields are present, but not all.
    """
    inputs = artefact.encoder.inputs
    lacking = [name for name in inputs if name not in columns]
    if artefact.index["data"]["recipe"] != "tabular" and 0 < len(lacking) < len(inputs) / 2:
        raise DataError(
            f"{path}: lacks the column {lacking[0]}, an input of {artefact.folder}",
            hint=f"did you mean {nearest_names(lacking[0], sorted(columns))}? the inputs are {', '.join(inputs)}",
        )


def _write_csv(path: Path, first: ScoredPart, others: Iterator[ScoredPart]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(",".join(["source", "line", *map(_cell, first.kept), "domain", "logit", "probability"]) + "\n")
        for part in _and(first, others):
            names = {name: "" if name is None else _cell(marked(name)) for name in set(part.domains)}
            source = _cell(marked(part.source))
            kept = ["".join(f"{_kept_cell(value)}," for value in row) for row in _rows(part)]
            columns = (
                part.lines.tolist(),
                kept,
                part.domains,
                map(str, part.logits),
                map(repr, part.probabilities.tolist()),
            )
            file.writelines(
                f"{source},{line},{own}{names[domain]},{logit},{chance}\n"
                for line, own, domain, logit, chance in zip(*columns, strict=True)
            )


def _write_ndjson(path: Path, first: ScoredPart, others: Iterator[ScoredPart]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for part in _and(first, others):
            # the shortest text of a 32-bit logit, as in CSV
            logits = [float(str(one)) for one in part.logits]
            columns = (part.lines.tolist(), _rows(part), part.domains, logits, part.probabilities.tolist())
            for line, kept, domain, logit, chance in zip(*columns, strict=True):
                own = dict(zip(part.kept, kept, strict=True))
                scores = {"domain": domain, "logit": logit, "probability": chance}
                file.write(json_line({"source": part.source, "line": line, **own, **scores}))


def _rows(part: ScoredPart) -> list[tuple[Any, ...]]:
    """The kept values, row by row."""
    return list(zip(*part.kept.values(), strict=True)) if part.kept else [()] * len(part.lines)


def _kept_cell(value: Any) -> str:
    """A kept value as a CSV field."""
    if value is None:
        return ""
    return _cell(marked(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)))


def _write_parquet(path: Path, first: ScoredPart, others: Iterator[ScoredPart]) -> None:
    import polars as pl  # only for this format

    frames = [part.frame() for part in _and(first, others)]
    pl.concat(frames, how="vertical_relaxed").write_parquet(path)


def _and(first: Any, others: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from others


def _cell(text: str) -> str:
    """A text as a CSV field."""
    file = io.StringIO()
    csv.writer(file, lineterminator="").writerow([text])
    return file.getvalue()
