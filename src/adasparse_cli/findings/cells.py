"""Frames as CSV files that people open: texts are `findings.marked`, so that no spreadsheet runs one, and are read back."""

from __future__ import annotations

import polars as pl
import polars.selectors as cs

from adasparse_cli.findings.finding import FORMULA, NUMBER


def marked_texts(table: pl.DataFrame) -> pl.DataFrame:
    """A frame whose texts are `findings.marked`."""
    return table.with_columns(
        pl.when(_is_marked(text)).then("'" + text).otherwise(text).alias(name) for name, text in _texts(table)
    )


def unmarked_texts(table: pl.DataFrame) -> pl.DataFrame:
    """The inverse of `marked_texts`; a file of an earlier version, which has no marks, stands as it is."""
    return table.with_columns(
        pl.when(text.str.starts_with("'") & _is_marked(text.str.slice(1)))
        .then(text.str.slice(1))
        .otherwise(text)
        .alias(name)
        for name, text in _texts(table)
    )


def _texts(table: pl.DataFrame) -> list[tuple[str, pl.Expr]]:
    return [(name, pl.col(name)) for name in table.select(cs.string()).columns]


def _is_marked(text: pl.Expr) -> pl.Expr:
    return text.str.contains(f"^{FORMULA}") & ~text.str.contains(f"^({NUMBER})$")
