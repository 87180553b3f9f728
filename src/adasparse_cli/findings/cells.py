"""Frames as CSV files for spreadsheets. Texts are `findings.marked`, so that no spreadsheet executes one; reading undoes this."""

from __future__ import annotations

import polars as pl
import polars.selectors as cs

from adasparse_cli.findings.finding import FORMULA, NUMBER


def marked_texts(table: pl.DataFrame) -> pl.DataFrame:
    """A frame with all texts `findings.marked`."""
    return table.with_columns(
        pl.when(_is_marked(text)).then("'" + text).otherwise(text).alias(name) for name, text in _texts(table)
    )


def unmarked_texts(table: pl.DataFrame) -> pl.DataFrame:
    """The inverse of `marked_texts`. A file of an earlier version has no marks and is returned unchanged."""
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
