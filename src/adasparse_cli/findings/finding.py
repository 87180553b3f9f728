"""The result of a study or an analysis as plain values: sentences, tables, figures. Floor 0: no torch, no polars.

Commands print findings, files store them, and the report page shows them. The code that makes a finding does not depend
on how it is shown.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

# The baseline is grey. The other colours are distinct for most colour-blind readers. Marks and dashes are distinct too, so
# a plot can be read without colour. Each colour has a contrast of 3 or more on light and dark panels (tests/page).
COLOURS = (
    "#6E7781", "#0072B2", "#D55E00", "#009E73", "#C76BA0", "#8C6BB1", "#B57F12", "#3A8FD0", "#6B8E23", "#C8403A", "#00939B",
    "#8B7355",
)  # fmt: skip
MARKS = (
    "circle", "square", "diamond", "triangle-up", "cross", "x", "triangle-down", "star", "hexagon", "pentagon",
    "triangle-left", "triangle-right",
)  # fmt: skip
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash")


@dataclass(frozen=True, slots=True)
class Style:
    """The appearance of a series. An arm has the same style in all figures."""

    colour: str
    mark: str
    dash: str

    @classmethod
    def of(cls, k: int) -> Self:
        """The k-th style; 0 is the baseline's."""
        return cls(COLOURS[k % len(COLOURS)], MARKS[(k + k // len(COLOURS)) % len(MARKS)], _DASHES[k % len(_DASHES)])


@dataclass(frozen=True, slots=True)
class Interval:
    """A cell with an interval from `low` to `high`; both are None if there is none. JSON has two numbers, text `[-0.0012, +0.0034]`."""

    low: float | None
    high: float | None
    decimals: int = 4

    @classmethod
    def of(cls, low: float, high: float, *, decimals: int = 4) -> Self:
        """An interval; NaN ends give None."""
        held = low == low and high == high  # false only for NaN
        return cls(low, high, decimals) if held else cls(None, None, decimals)

    @property
    def half_width(self) -> float | None:
        """Half the width of the interval."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return "n/a"
        return f"[{self.low:+.{self.decimals}f}, {self.high:+.{self.decimals}f}]"


@dataclass(frozen=True, kw_only=True)
class Support:
    """The number of rows that the estimates of a table are based on. With few rows, text has two digits and a mark.

    Args:
        estimates: columns of metrics and of their differences, each with the column of its interval, or an empty text. An
            estimate with a known interval keeps its digits.
        rows, positives: names of the columns with these counts; or numbers, if all rows use the same test rows.
    """

    estimates: Mapping[str, str]
    rows: str | int | None = "test rows"
    positives: str | int | None = "positives"

    def is_weak(self, row: Mapping[str, Any], name: str) -> bool:
        """Whether the value of a column is shown with two digits only."""
        if name not in self.estimates or not isinstance(row.get(name), float):
            return False
        reach = row.get(self.estimates[name])
        if isinstance(reach, Interval) and reach.low is not None:
            return False
        rows, positives = (row.get(one) if isinstance(one, str) else one for one in (self.rows, self.positives))
        return is_few(rows, positives)


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows with the same keys.

    Args:
        name: name of its file, for example `pairs`.
        caption: what a reader must know to read it.
        long: whether it is a reference table. A page folds it and can sort and filter it; a terminal omits it.
        folded: whether a page folds it although it is not long.
        choice: its name among tables that share one place on the page, with buttons to choose; empty to always show it.
        gains: columns of differences that a page colours by sign and size.
        shares: columns that a page colours by size, on one scale.
        faint: indices of rows with too few data; a page shows them in grey.
        support: rows that its estimates are based on; files and JSON have all digits in any case.
    """

    name: str
    title: str
    rows: Sequence[Mapping[str, Any]]
    caption: str = ""
    long: bool = False
    folded: bool = False
    choice: str = ""
    gains: Sequence[str] = ()
    shares: Sequence[str] = ()
    faint: Sequence[int] = ()
    support: Support | None = None

    def text(self, row: Mapping[str, Any], name: str) -> str:
        """A cell as text."""
        value = row.get(name)
        if self.support is not None and self.support.is_weak(row, name):
            return f"{value:{_sign(name)}.2f}{FEW}"
        return cell(value, name)

    @property
    def shown_rows(self) -> list[dict[str, Any]]:
        """The rows for text output: estimates based on few rows are texts with two digits."""
        weak = self.support.is_weak if self.support is not None else lambda row, name: False
        return [{name: self.text(row, name) if weak(row, name) else row[name] for name in row} for row in self.rows]

    @property
    def shown_caption(self) -> str:
        """The caption, and the meaning of the mark if a cell has it."""
        weak = self.support is not None and any(self.support.is_weak(row, name) for row in self.rows for name in row)
        mark = f"{FEW.strip()} fewer than {ENOUGH_POSITIVES} test rows of one class, so only two digits are shown"
        return ". ".join(filter(None, (self.caption.rstrip("."), mark))) if weak else self.caption


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A plot in the format of plotly.js.

    Args:
        traces, layout: its `data` and `layout`; the page sets the colours of text and background.
        summary: a description in words, for readers who cannot see the plot.
    """

    name: str
    title: str
    summary: str
    traces: Sequence[Mapping[str, Any]]
    layout: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A question, its answers, and how to read them.

    Args:
        name: its anchor and folder, for example `overlap`.
        answers: sentences, the most important first.
        notes: method and limitations.
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
        values = dataclasses.asdict(self)
        for table in values["tables"]:
            if table["support"] is None:
                del table["support"]
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        tables = tuple(
            Table(
                **{name: tuple(own) if isinstance(own, list) else own for name, own in table.items()}
                | {"rows": [{name: _read(value) for name, value in row.items()} for row in table["rows"]]}
                | {"support": Support(**table["support"]) if table.get("support") else None}
            )
            for table in values["tables"]
        )
        figures = tuple(Figure(**figure) for figure in values["figures"])
        return cls(**{**values, "tables": tables, "figures": figures})


# Start of a text that a spreadsheet executes as a formula; plain numbers are exempt.
FORMULA = r"[=+\-@\t\r\n']"
NUMBER = r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?"


def marked(text: str) -> str:
    """A text as a CSV cell that no spreadsheet executes: with a leading apostrophe if it looks like a formula.

    A text that begins with an apostrophe gets another one, so that removing the first always gives the original text.
    """
    return f"'{text}" if re.match(FORMULA, text) and not re.fullmatch(NUMBER, text) else text


def as_csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Rows as CSV with a header. An interval takes two columns, `<name> low` and `<name> high`. Texts are `marked`."""
    wide = {name for name in columns if any(isinstance(row.get(name), Interval) for row in rows)}
    header = [part for name in columns for part in ((f"{name} low", f"{name} high") if name in wide else (name,))]
    lines = [_csv_line(map(marked, header))]
    for row in rows:
        line: list[Any] = []
        for name in columns:
            value = row.get(name)
            if name not in wide:
                line.append(marked(value) if isinstance(value, str) else value)
            else:
                line.extend((value.low, value.high) if isinstance(value, Interval) else (None, None))
        lines.append(_csv_line(line))
    return "".join(lines)


def _csv_line(cells: Iterable[Any]) -> str:
    """A line that ends with a line feed. The csv writer quotes a carriage return only if its own lines end with one."""
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\r\n").writerow(cells)
    return buffer.getvalue().removesuffix("\r\n") + "\n"


def _read(value: Any) -> Any:
    return Interval(**value) if isinstance(value, dict) else value


# Metrics of a split with fewer rows of the rarer class are imprecise: the standard error of an AUC exceeds 0.06.
ENOUGH_POSITIVES = 20
# Mark for values of such a split.
FEW = " *"


def estimate(
    value: float | None, rows: int | None, positives: int | None, *, sd: float | None = None
) -> float | str | None:
    """A metric of a split; two digits and a mark if one class has few rows.

    Args:
        sd: its standard deviation over seeds. If given, the result is a text with both.
    """
    if value is None:
        return None
    few = is_few(rows, positives)
    digits = ".2f" if few else ".4f"
    if not few and sd is None:
        return value
    return f"{value:{digits}}" + ("" if sd is None else f" ± {sd:{digits}}") + FEW * few


def is_few(rows: int | None, positives: int | None) -> bool:
    """Whether a split has too few rows of one class for more than two digits."""
    return rows is not None and positives is not None and min(positives, rows - positives) < ENOUGH_POSITIVES


def few_caption(splits: Mapping[str, Mapping[str, Any]]) -> str:
    """The meaning of the mark, with the standard error of an AUC without information; empty if nothing is marked."""
    lines = []
    for name, found in splits.items():
        rows, positives = found["rows"], found["positives"]
        if is_few(rows, positives):
            pairs = positives * (rows - positives)
            error = f"the standard error of an AUC is about {((rows + 1) / (12 * pairs)) ** 0.5:.2f}" if pairs else ""
            what = f"{positives} positives" if positives < ENOUGH_POSITIVES else f"{rows - positives} negatives"
            lines.append(f"{name} has only {what}{': ' if error else ''}{error}")
    return f"{FEW.strip()} {'; '.join(lines)}" if lines else ""


class Best(str):
    """A highlighted cell: the best of its column, if the intervals support this."""

    __slots__ = ()


# Prefixes of columns of differences whose names do not say so.
DIFFERENCES = ("gain", "over ", "RelaImpr")


def cell(value: Any, column: str = "") -> str:
    """A table value as text. A missing value is "n/a"; per cent and seconds have one decimal, minutes below 10 too.

    Columns of differences also have a plus sign.
    """
    if value is None or value != value:  # true only for NaN
        return "n/a"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        if "minutes" in column:
            return f"{value:,.0f}" if value == 0 or value >= 10 else f"{value:,.1f}"
        short = column.endswith("%") or "seconds" in column
        # a count that is a mean, for example a median of rows, is not a metric
        whole = value.is_integer() and abs(value) >= 2
        size = abs(value)
        digits = ",.0f" if whole or size >= 1000 else ",.1f" if short or size >= 100 else ".2f" if size >= 10 else ".4f"
        return format(value, f"{_sign(column)}{digits}")
    return str(value)


def _sign(column: str) -> str:
    return "+" if "difference" in column or column.startswith(DIFFERENCES) else ""
