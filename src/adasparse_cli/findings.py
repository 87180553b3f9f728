"""What a study or an analysis says, as plain values: sentences, tables, figures. Floor 0: no torch, no polars.

Commands print findings, files keep them, and the report page shows them; whoever finds something need not know how
it will be shown.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

# Okabe and Ito's colours, which differ for colour-blind eyes too, without black; marks and dashes differ as well, so
# that a plot can be read without any colour.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6BB1")
_MARKS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "triangle-down", "star", "hexagon", "pentagon")
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


@dataclass(frozen=True, slots=True)
class Style:
    """How the k-th of several series looks."""

    colour: str
    mark: str
    dash: str

    @classmethod
    def of(cls, k: int) -> Self:
        """Series that stand near one another differ in all three."""
        return cls(_COLOURS[k % len(_COLOURS)], _MARKS[k % len(_MARKS)], _DASHES[k % len(_DASHES)])


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows with the same keys.

    Args:
        name: what its file is called, such as `pairs`.
        caption: what a reader must know to read it.
        long: whether it is for looking things up: a page then lets it be sorted and filtered, a terminal leaves it out.
    """

    name: str
    title: str
    rows: Sequence[Mapping[str, Any]]
    caption: str = ""
    long: bool = False


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A plot as plotly.js takes it.

    Args:
        traces, layout: its `data` and `layout`; colours of text and ground are the page's.
        summary: what it shows, in words, for those who do not see it.
    """

    name: str
    title: str
    summary: str
    traces: Sequence[Mapping[str, Any]]
    layout: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A question, what was found, and how to read it.

    Args:
        name: its anchor and folder, such as `overlap`.
        answers: sentences, the most important first.
        notes: how it was worked out, and what it does not show.
    """

    name: str
    title: str
    question: str
    answers: Sequence[str] = ()
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()
    notes: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        tables = tuple(Table(**table) for table in values["tables"])
        figures = tuple(Figure(**figure) for figure in values["figures"])
        return cls(**{**values, "tables": tables, "figures": figures})


def cell(value: Any, column: str = "") -> str:
    """A value of a table as a person reads it; what is not available says so, per cent and seconds have one decimal."""
    if value is None or value != value:  # NaN alone differs from itself
        return "n/a"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        short = column.endswith("%") or "seconds" in column
        return f"{value:,.1f}" if short else f"{value:.4f}" if abs(value) < 1000 else f"{value:,.0f}"
    return str(value)
