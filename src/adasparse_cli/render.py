"""How results and progress look. Results go to stdout, progress and notes to stderr. Floor 5."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from adasparse_cli.findings import Finding, cell

# What is read by a program or kept in a file is not cut to a screen's width.
out = Console(soft_wrap=False, width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 160)
err = Console(stderr=True)
# A line of progress this often, where there is no terminal to draw a bar on.
LINE_SECONDS = 10.0
# Text up to this long is never folded: an interval, a key.
SHORT = 20


class Format(StrEnum):
    """How a result is written."""

    text = "text"
    json = "json"
    csv = "csv"
    markdown = "markdown"
    latex = "latex"


def chosen_format(as_json: bool, as_csv: bool) -> Format:
    """The format that two flags ask for."""
    return Format.json if as_json else Format.csv if as_csv else Format.text


def show(
    rows: Sequence[Mapping[str, Any]],
    *,
    title: str = "",
    form: Format = Format.text,
    columns: Sequence[str] | None = None,
    caption: str = "",
) -> None:
    """Write rows with the same keys as a table, as JSON or as CSV."""
    names = list(columns or (rows[0] if rows else ()))
    if form is Format.json:
        show_json([{name: row.get(name) for name in names} for row in rows])
    elif form is Format.csv:
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, names, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        out.file.write(buffer.getvalue())
    elif form is Format.markdown:
        out.file.write(_markdown(names, rows, title, caption))
    elif form is Format.latex:
        out.file.write(_latex(names, rows, title, caption))
    else:
        if title:
            out.print(title, style="bold", markup=False, highlight=False)
        table = Table()
        for position, name in enumerate(names):
            numeric = bool(rows) and all(_is_figure(row.get(name)) for row in rows)
            # figures, short text and the first column (up to half of the width) stay whole; other text is folded in a narrow terminal
            widest = max((len(cell(row.get(name), name)) for row in rows), default=0)
            whole = widest if numeric or widest <= SHORT else min(widest, out.width // 2) if position == 0 else None
            word = max((len(part) for part in name.split()), default=0)
            least = max(whole or 0, word) if word <= SHORT else whole
            table.add_column(name, justify="right" if numeric else "left", overflow="fold", min_width=least)
        for row in rows:
            table.add_row(*(cell(row.get(name), name) for name in names))
        out.print(table)
        if caption:
            out.print(caption, style="dim", markup=False, highlight=False)


def show_finding(finding: Finding, form: Format, kept: Path | None = None) -> None:
    """A finding: what it says, its tables but the long ones, and where it is kept. CSV is its first table."""
    if form is Format.json:
        show_json(finding.to_json())
        return
    if form is Format.csv:
        show(finding.tables[0].rows if finding.tables else [], form=form)
        return
    if finding.question:
        say(finding.question)
    for answer in finding.answers:
        say(f"  {answer}")
    for table in finding.tables:
        if table.rows and not table.long:
            show(table.rows, title=table.title, caption=table.caption, form=form)
    for line in finding.notes:
        note(line)
    if kept is not None:
        say(f"tables and plots: {kept}; adasparse report shows them on a page")


def show_json(value: Any) -> None:
    """Write a value as JSON."""
    out.file.write(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=str) + "\n")


def say(line: str) -> None:
    """A line of a result."""
    out.print(line, markup=False, highlight=False)


def note(line: str) -> None:
    """A line about the work, not of its result."""
    err.print(line, markup=False, highlight=False, style="dim")


def complain(message: str, hint: str) -> None:
    """The two lines that every fault gets."""
    err.print(f"error: {_one_line(message)}", style="bold red", markup=False, highlight=False, soft_wrap=True)
    err.print(f"hint: {_one_line(hint)}", markup=False, highlight=False, soft_wrap=True)


def _markdown(names: Sequence[str], rows: Sequence[Mapping[str, Any]], title: str, caption: str) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(text.replace("|", "\\|") for text in cells) + " |"

    rules = ["---" if position == 0 else "--:" for position in range(len(names))]
    lines = [line(names), line(rules), *(line([cell(row.get(name), name) for name in names]) for row in rows)]
    head = [f"**{title}**", ""] if title else []
    return "\n".join([*head, *lines, *(["", caption] if caption else []), "", ""])


def _latex(names: Sequence[str], rows: Sequence[Mapping[str, Any]], title: str, caption: str) -> str:
    def line(cells: Sequence[str]) -> str:
        return " & ".join(_escaped(text) for text in cells) + r" \\"

    body = [line([cell(row.get(name), name) for name in names]) for row in rows]
    head = [r"\begin{table}", rf"\caption{{{_escaped('. '.join(part for part in (title, caption) if part))}}}"]
    table = [rf"\begin{{tabular}}{{l{'r' * (len(names) - 1)}}}", r"\hline", line(names), r"\hline", *body, r"\hline"]
    return "\n".join([*head, *table, r"\end{tabular}", r"\end{table}", ""])


def _escaped(text: str) -> str:
    """Text that LaTeX prints as it stands."""
    special = {"\\": r"\textbackslash{}", "±": r"$\pm$", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(special.get(sign, f"\\{sign}" if sign in "&%$#_{}" else sign) for sign in text)


def _is_figure(value: Any) -> bool:
    return isinstance(value, (int, float, type(None))) or (isinstance(value, str) and value.endswith(("%", "n/a")))


def share(value: float | None) -> str:
    """A share of 0 to 1 in per cent."""
    return "n/a" if value is None else f"{value:.1%}"


def with_spread(values: Sequence[float | None]) -> str:
    """Mean ± standard deviation (of the sample, n − 1) over seeds."""
    known = [value for value in values if value is not None]
    if len(known) < len(values) or not known:
        return "n/a"
    mean = sum(known) / len(known)
    if len(known) == 1:
        return f"{mean:.4f}"
    sd = (sum((value - mean) ** 2 for value in known) / (len(known) - 1)) ** 0.5
    return f"{mean:.4f} ± {sd:.4f}"


class ProgressDisplay:
    """Progress as a bar on a terminal, as a line now and then elsewhere."""

    def __init__(self) -> None:
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._what, self._unit, self._done = "", "", 0
        self._total: int | None = None
        self._started = self._spoke = 0.0

    def __enter__(self) -> Self:
        if err.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TaskProgressColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[detail]}", style="dim"),
                console=err,
                transient=True,
            )
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()
        if self._bar is not None:
            self._bar.stop()

    def start(self, what: str, total: int | None, unit: str) -> None:
        """A new piece of work of `total` units."""
        self._end()
        self._what, self._unit, self._total, self._done = what, unit, total, 0
        self._started = self._spoke = time.monotonic()
        if self._bar is not None:
            self._task = self._bar.add_task(what, total=total, rate="", detail="")

    def advance(self, amount: int, detail: Mapping[str, float] | None = None) -> None:
        """More of it is done; `detail` names the latest figures."""
        self._done += amount
        now = time.monotonic()
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, advance=amount, rate=self._rate(now), detail=_details(detail))
        elif now - self._spoke > LINE_SECONDS:
            self._spoke = now
            of = f" of {_amount(self._total, self._unit)}" if self._total else ""
            note(f"{self._what}: {_amount(self._done, self._unit)}{of}, {self._rate(now)} {_details(detail)}".rstrip())

    def note(self, line: str) -> None:
        """A line that stays."""
        note(line)

    def _end(self) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None
        if self._what and self._done:
            seconds = time.monotonic() - self._started
            note(f"{self._what}: {_amount(self._done, self._unit)} in {seconds:.1f} s")
        self._what = ""

    def _rate(self, now: float) -> str:
        seconds = max(now - self._started, 1e-6)
        return f"{_amount(self._done / seconds, self._unit)}/s"


def _amount(number: float | None, unit: str) -> str:
    if number is None:
        return "?"
    return f"{number / 2**20:,.1f} MiB" if unit == "bytes" else f"{number:,.0f} {unit}"


def _details(detail: Mapping[str, float] | None) -> str:
    if not detail:
        return ""
    return "  ".join(f"{name} {_figure(value)}" for name, value in detail.items())


def _figure(value: float) -> str:
    return f"{value:,.0f}" if isinstance(value, int) or value > 100 else f"{value:.4f}"


def _one_line(text: str) -> str:
    return " ".join(text.split())
