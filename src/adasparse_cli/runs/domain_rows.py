"""A run's domains.csv, read back as it was written."""

from __future__ import annotations

import itertools
from pathlib import Path

import polars as pl

from adasparse_cli.findings.cells import unmarked_texts


def read_domain_rows(path: Path) -> pl.DataFrame:
    """The table of domains, the keys as the texts they are: 007 is not 7.

    Raises:
        FileNotFoundError: there is none.
        polars.exceptions.PolarsError: it is damaged.
    """
    header = pl.read_csv(path, n_rows=0, glob=False).columns
    keys = itertools.takewhile(lambda name: name != "train_rows", header[1:])
    table = pl.read_csv(path, schema_overrides=dict.fromkeys(keys, pl.String), infer_schema_length=None, glob=False)
    return unmarked_texts(table)
