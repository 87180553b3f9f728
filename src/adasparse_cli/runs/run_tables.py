"""Tables of a run: its domains, the best and the worst domains, and the scores of its test rows."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import polars as pl

from adasparse_cli.errors import IntegrityError
from adasparse_cli.findings.cells import unmarked_texts
from adasparse_cli.findings.finding import ENOUGH_POSITIVES
from adasparse_cli.prepared.key import joined_keys
from adasparse_cli.runs.saved_run import DOMAINS, PREDICTIONS, anew, has_file, run_file


def read_domain_rows(path: Path) -> pl.DataFrame:
    """The table of domains. Keys are read as text, because 007 differs from 7.

    Raises:
        FileNotFoundError: the file is missing.
        polars.exceptions.PolarsError: the file is damaged.
    """
    header = pl.read_csv(path, n_rows=0, glob=False).columns
    keys = itertools.takewhile(lambda name: name != "train_rows", header[1:])
    table = pl.read_csv(path, schema_overrides=dict.fromkeys(keys, pl.String), infer_schema_length=None, glob=False)
    return unmarked_texts(table)


def extreme_domains(folder: Path, number: int) -> list[dict[str, Any]]:
    """The best and the worst domains of a run by test AUC, among domains with at least `ENOUGH_POSITIVES` positives."""
    if not has_file(folder, DOMAINS):
        return []
    table = read_domain_rows(run_file(folder, DOMAINS))
    keys = table.columns[1 : table.columns.index("train_rows")]
    judged = table.filter((pl.col("test_positives") >= ENOUGH_POSITIVES) & pl.col("test_auc").is_not_null())
    judged = judged.sort("test_auc", descending=True)
    if judged.height > 2 * number:
        judged = pl.concat([judged.head(number), judged.tail(number)])
    shown = judged.select(
        joined_keys([pl.col(key) for key in keys]).alias("domain"),
        pl.col("train_rows").alias("train rows"),
        pl.col("test_rows").alias("test rows"),
        pl.col("test_positives").alias("positives"),
        pl.col("test_auc").alias("AUC"),
        pl.col("test_log_loss").alias("log loss"),
        pl.col("test_calibration").alias("calibration"),
    )
    return shown.to_dicts()


def read_predictions(folder: Path) -> pl.DataFrame:
    """The scores of a run's test split: source, line, label, domain, logit, probability, and user if known.

    Raises:
        IntegrityError: the file is missing or damaged.
    """
    path = run_file(folder, PREDICTIONS)
    try:
        return pl.read_parquet(path, glob=False)
    except (OSError, pl.exceptions.PolarsError):
        raise IntegrityError(f"{path} is damaged", hint=anew(folder)) from None
