"""Files of a run besides its report: the log, the scores of the test rows, and the table of domains."""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from polars.io.plugins import register_io_source

from adasparse_cli.files import (
    write_atomically,
    write_text,
)
from adasparse_cli.findings.cells import marked_texts
from adasparse_cli.metrics import per_domain
from adasparse_cli.models.base import Model
from adasparse_cli.prepared.tables import read_domains
from adasparse_cli.rows.dataset import Rows
from adasparse_cli.runs.saved_run import PREDICTIONS
from adasparse_cli.schema import Manifest
from adasparse_cli.training.evaluate import Scores, sparsity_by_domain

GROUP_ROWS = 65_536  # of predictions that are written block by block
LOGGED_METRICS = ("auc", "gauc_domain", "log_loss")
log = logging.getLogger("adasparse_cli")
log.setLevel(logging.INFO)
log.propagate = False


class _RunLog(logging.FileHandler):
    """A file of log lines. Lines that cannot be written are lost, and do not hide the error that is being raised."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name is logging's
        """Print no traceback: a full disk is reported by the file that the run needs."""

    def close(self) -> None:
        with contextlib.suppress(OSError):  # of the lines that are still in the buffer
            super().close()


@contextlib.contextmanager
def logged(folder: Path) -> Iterator[None]:
    """Write log lines to the train.log of a run."""
    handler = _RunLog(folder / "train.log", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    try:
        yield
    except BaseException as error:
        log.error("%s: %s", type(error).__name__, error)
        raise
    finally:
        log.removeHandler(handler)
        handler.close()


def logged_metrics(line: Mapping[str, Any]) -> str:
    """A line of metrics.jsonl as text for the log."""
    shown = ", ".join(
        f"{name} {'n/a' if line.get(name) is None else format(line[name], '.4f')}" for name in LOGGED_METRICS
    )
    return f"{line['kind']} at step {line['step']}: {shown}" + (", the best so far" if line.get("best") else "")


def logging_evaluations(further: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Any]], None]:
    """A receiver of the lines of metrics.jsonl that logs evaluations and passes all lines to `further`."""

    def on_line(line: dict[str, Any]) -> None:
        if line["kind"] != "train":
            log.info("%s", logged_metrics(line))
        further(line)

    return on_line


def write_predictions(folder: Path, rows: Rows, scores: Scores) -> None:
    """Write the scores of a split; those of rows on disk are put together and written block by block."""
    if rows.in_memory:
        frame = prediction_frame(rows, scores)
        write_atomically(folder / PREDICTIONS, lambda path: frame.write_parquet(path))
        return
    frames = _prediction_frames(rows, scores)
    first = next(frames)

    def blocks(columns: list[str] | None, *ignored: object) -> Iterator[pl.DataFrame]:
        every = itertools.chain([first], frames)
        return every if columns is None else (frame.select(columns) for frame in every)

    source = register_io_source(blocks, schema=first.schema)
    write_atomically(
        folder / PREDICTIONS,
        lambda path: source.sink_parquet(path, maintain_order=True, row_group_size=GROUP_ROWS),
    )


def prediction_frame(rows: Rows, scores: Scores) -> pl.DataFrame:
    """One row per scored row: source, line, domain, user and label if known, logit and probability."""
    return pl.concat(_prediction_frames(rows, scores))


def _prediction_frames(rows: Rows, scores: Scores) -> Iterator[pl.DataFrame]:
    start = 0
    for sources, lines in rows.places():
        part = slice(start, start := start + len(lines))
        columns: dict[str, Any] = {"source": sources, "line": lines, "domain": rows.domains[part]}
        if rows.users is not None:
            columns["user"] = rows.users[part]
        if rows.labels is not None:
            columns["label"] = rows.labels[part].cpu().numpy().astype(np.int8)
        own = Scores(scores.logits[part], None)
        yield pl.DataFrame({**columns, "logit": own.logits, "probability": own.probabilities})


def write_domains(
    folder: Path, data_folder: Path, manifest: Manifest, model: Model, rows: Rows, scores: Scores
) -> None:
    """Write domains.csv: key, number of rows, test metrics and sparsity of each domain."""
    assert rows.labels is not None
    number = manifest.num_all_domains
    metrics = per_domain(rows.labels.cpu().numpy(), scores.logits, rows.domains, number)
    sparsity = sparsity_by_domain(scores, rows, num_domains=number)
    table = read_domains(data_folder, manifest)
    table = table.with_columns(
        pl.Series(f"test_{name}", values) for name, values in metrics.items() if f"test_{name}" not in table.columns
    )
    if sparsity is not None:
        table = table.with_columns(
            pl.Series(f"sparsity_{layer.replace(' ', '_')}", sparsity[:, k])
            for k, layer in enumerate(model.gated_layers)
        )
    write_text(folder / "domains.csv", marked_texts(table.fill_nan(None)).write_csv())
