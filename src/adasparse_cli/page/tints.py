"""Colours of table cells, with a strength relative to the values of the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from adasparse_cli.findings.finding import Table

TOP = 95  # percentile of the values that has full colour


def tints(table: Table) -> Callable[[int, str], tuple[str, float] | None]:
    """Class and strength (0–1) of a cell by its row and column; None for a cell without colour.

    Gains: the size relative to the 95th percentile of all sizes. Shares: from the smallest to the largest of all values.
    Faint rows have no colour and are not counted.
    """
    faint = frozenset(table.faint)
    clear = [row for k, row in enumerate(table.rows) if k not in faint]
    sizes = [abs(value) for value in _values(clear, table.gains)]
    top = float(np.percentile(sizes, TOP)) if sizes else 0.0
    shares = list(_values(clear, table.shares))
    low, high = (min(shares), max(shares)) if shares else (0.0, 0.0)

    def tint(row: int, column: str) -> tuple[str, float] | None:
        value = table.rows[row].get(column)
        if row in faint or not isinstance(value, (int, float)) or value != value:
            return None
        if column in table.gains and top > 0:
            return ("up" if value > 0 else "down"), round(min(abs(value) / top, 1.0), 2)
        if column in table.shares and high > low:
            return "share", round((value - low) / (high - low), 2)
        return None

    return tint


def _values(rows: list[Mapping[str, Any]], columns: Any) -> list[float]:
    found = [row.get(column) for row in rows for column in columns]
    return [float(value) for value in found if isinstance(value, (int, float)) and value == value]
