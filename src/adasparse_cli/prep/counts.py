"""Counts of rows by the values of columns, which can be added over frames."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from adasparse_cli.prep.recipe import LABEL

ROWS, POSITIVES = "rows", "positives"


@dataclass(frozen=True, kw_only=True)
class Count:
    """Rows per distinct combination of keys.

    Args:
        keys: the keys; integers or texts, null for missing. Names are unique.
        where: only these rows are counted; None for all rows.
        positives: whether the labels are also added.
        least: combinations with fewer rows in all frames together are left out.
    """

    keys: tuple[pl.Expr, ...]
    where: pl.Expr | None = None
    positives: bool = False
    least: int = 1

    def columns(self) -> list[str]:
        """The columns that are needed."""
        found = [LABEL] if self.positives else []
        for expression in (*self.keys, *(() if self.where is None else (self.where,))):
            found += expression.meta.root_names()
        return list(dict.fromkeys(found))

    def counted(self, frame: pl.LazyFrame) -> pl.LazyFrame:
        """The keys, ROWS and, if asked for, POSITIVES (both Int64) of some rows; `least` is not applied."""
        sums = [pl.len().cast(pl.Int64).alias(ROWS)]
        if self.positives:
            sums.append(pl.col(LABEL).cast(pl.Int64).sum().alias(POSITIVES))
        return (frame if self.where is None else frame.filter(self.where)).group_by(self.keys).agg(sums)
