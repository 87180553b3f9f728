"""How results look. They go to stdout, notes to stderr. Floor 5.

What is shown may be a person's data, such as `[/x] :smile:`: it is printed as it stands, never read as rich's markup.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from rich.cells import cell_len
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from adasparse_cli.errors import UsageError
from adasparse_cli.findings.finding import FEW, Best, Finding, Interval, as_csv, cell
from adasparse_cli.findings.machine import document, finding_details, machine_rows

# Marks a metric of few positives.
# What is read by a program or kept in a file is not cut to a screen's width.
out = Console(soft_wrap=False, width=None if (sys.stdout and sys.stdout.isatty()) or "COLUMNS" in os.environ else 160)
err = Console(stderr=True)
# Text up to this long is not folded where there is room: an interval, a key.
SHORT = 20
# Where there is not, text columns get narrower, down to this, or to their longest word if that is short.
NARROW = 12
# Characters that a terminal obeys, or that change how the text around them reads; they are shown as what they are.
_DIRECTIONS = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_INVISIBLE = (0x200B, 0x2028, 0x2029, 0x2060, 0xFEFF)
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {
    code: f"\\u{code:04x}" for code in (*_DIRECTIONS, *_INVISIBLE)
}
_JSON_CONTROLS = {code: f"\\u{code:04x}" for code in _CONTROLS if code > 126}
# Lines that a person copies from: a command, or a path. A terminal folds them itself, without breaks that would be copied.
_COPIED = re.compile(r"\badasparse [a-z]|^(run|study|page|report|predictions|exported|wrote|prepared in)\b")
# A cell longer than this keeps its beginning and its end; files and programs get it whole.
LONGEST_CELL = 320
# The same of an error or a hint, which may name a few paths and settings.
LONGEST_FAULT = 2000


class Format(StrEnum):
    """How a result is written."""

    text = "text"
    json = "json"
    csv = "csv"
    markdown = "markdown"
    latex = "latex"


# The formats that programs read; only a result goes to stdout then.
MACHINE = (Format.json, Format.csv)


def chosen_format(as_json: bool, as_csv: bool, form: Format | None = None) -> Format:
    """The format that two flags and, where a command has it, `--format` ask for.

    Raises:
        UsageError: more than one is given.
    """
    given = {"--json": as_json, "--csv": as_csv, "--format": form is not None}
    given_names = [name for name, is_given in given.items() if is_given]
    if len(given_names) > 1:
        raise UsageError(f"{' and '.join(given_names)} exclude each other", hint="use one of them")
    return Format.json if as_json else Format.csv if as_csv else form or Format.text


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
    if form in MACHINE:
        show_machine([{name: row.get(name) for name in names} for row in rows], form)
    elif form is Format.markdown:
        _write(_markdown(names, rows, title, caption))
    elif form is Format.latex:
        _write(_latex(names, rows, title, caption))
    else:
        if title:
            _print(out, title, style="bold")
        for table in tables(names, rows, out.width):
            out.print(table)
        if caption:
            _print(out, caption, style="dim")


def show_finding(
    finding: Finding, form: Format, kept: Path | None = None, *, runs: Sequence[Mapping[str, Any]] = ()
) -> None:
    """A finding: what it says, its tables but the long ones, and where it is kept. CSV is its first table.

    Args:
        runs: the runs that it was made from, for JSON.
    """
    if form in MACHINE:
        rows = finding.tables[0].rows if finding.tables else []
        more = {**finding_details(finding), "runs": runs, "folder": None if kept is None else str(kept)}
        show_machine(rows, form, more)
        return
    if finding.question:
        say(finding.question)
    for answer in finding.answers:
        say(f"  {answer}")
    for table in finding.tables:
        if table.rows and not table.long:
            show(table.shown_rows, title=table.title, caption=table.shown_caption, form=form)
    for line in finding.notes:
        note(line)
    if kept is not None:
        say(f"tables and plots: {kept}; adasparse report shows them on a page")


def show_machine(
    rows: Sequence[Mapping[str, Any]], form: Format, more: Mapping[str, Any] | None = None, *, names: Sequence[str] = ()
) -> None:
    """Write what a program reads: `document` as JSON, or its rows as CSV.

    Args:
        more: keys beside `rows`, for JSON.
        names: columns whose name belongs to a person, such as a run's; they stand as they are.
    """
    if form is Format.json:
        _write_json(document(rows, more, names=names))
    elif rows:
        own = [{key: _csv_value(value) for key, value in row.items()} for row in machine_rows(rows, names=names)]
        _write(as_csv(own, list(own[0])))


def _csv_value(value: Any) -> Any:
    """Lists and mappings as JSON."""
    nested = isinstance(value, (list, tuple, Mapping))
    return json.dumps(value, ensure_ascii=False, default=_plain) if nested else value


def _write_json(value: Any) -> None:
    text = json.dumps(value, indent=2, ensure_ascii=not _is_unicode(), allow_nan=False, default=_plain)
    out.file.write(text.translate(_JSON_CONTROLS) + "\n")


def _is_unicode() -> bool:
    return out.encoding.replace("-", "").lower().startswith("utf")


def _write(text: str) -> None:
    """Text for a file or a program as it is; a terminal gets it without the characters that it would obey."""
    out.file.write("\n".join(map(visible, text.split("\n"))) if out.is_terminal else text)


def _plain(value: Any) -> Any:
    """What JSON has no word for."""
    return dataclasses.asdict(value) if isinstance(value, Interval) else str(value)


def say(line: str) -> None:
    """A line of a result."""
    _print(out, line)


def remark(line: str, form: Format) -> None:
    """A sentence beside tables, written as they are: a Markdown bullet, a LaTeX comment; JSON and CSV have no place for it."""
    if form is Format.text:
        say(line)
    elif form is Format.markdown:
        _write(f"- {_one_line(line)}\n")
    elif form is Format.latex:
        _write(f"% {_one_line(line)}\n")


def note(line: str) -> None:
    """A line about the work, not of its result."""
    _print(err, line, style="dim")


def complain(message: str, hint: str) -> None:
    """The two lines that every fault gets."""
    _print(err, f"error: {_cut(_one_line(message), LONGEST_FAULT)}", style="bold red", soft_wrap=True)
    _print(err, f"hint: {_cut(_one_line(hint), LONGEST_FAULT)}", soft_wrap=True)


def _print(console: Console, line: str, *, style: str = "", soft_wrap: bool = False) -> None:
    # a file or a program gets a line as it is; what is long is folded on a terminal only
    console.print(
        _text(line), style=style, soft_wrap=soft_wrap or not console.is_terminal or _COPIED.search(line) is not None
    )


def _text(text: str) -> Text:
    """Text that is shown as it stands, whatever it looks like."""
    return Text(visible(text))


def visible(text: str) -> str:
    """Text without the characters that a terminal would obey."""
    return text.translate(_CONTROLS)


@dataclass(frozen=True, kw_only=True)
class _Column:
    """A column of a table: its cells in words, and how wide it may be.

    Args:
        widest: its widest cell. natural: nothing is folded. least: long text alone is. narrow: all text is, but between
            words unless they are long.
    """

    name: str
    cells: Sequence[Text]
    numeric: bool
    widest: int
    natural: int
    least: int
    narrow: int


def _column(name: str, rows: Sequence[Mapping[str, Any]], *, first: bool, width: int) -> _Column:
    values = [row.get(name) for row in rows]
    cells = [visible(_cut(cell(value, name))) for value in values]
    numeric = bool(rows) and all(map(_is_figure, values))
    widest = max(map(_width, cells), default=0)
    shown = visible(_cut(name))
    head = _longest_word([shown])
    # figures, short text and the first column (up to half of the width) stay whole; other text is folded in a narrow terminal
    whole = widest if numeric or widest <= SHORT else min(widest, width // 2) if first else 0
    least = max(whole, head, min(widest, NARROW))
    return _Column(
        name=shown,
        cells=[
            Text(text, style="bold" if isinstance(value, Best) else "")
            for text, value in zip(cells, values, strict=True)
        ],
        numeric=numeric,
        widest=widest,
        natural=max(widest, _width(shown), 1),
        least=least,
        narrow=least if numeric else min(least, max(NARROW, head, _longest_word(cells))),
    )


def tables(names: Sequence[str], rows: Sequence[Mapping[str, Any]], width: int) -> Iterator[Table]:
    """The rows as one table, or as several that repeat the first column where one would be too wide."""
    columns = [_column(name, rows, first=position == 0, width=width) for position, name in enumerate(names)]
    for group in _groups(columns, width):
        sizes = _widths(group, width)
        # where the first column is folded, lines show which row is which
        table = Table(show_lines=sizes[0] < group[0].widest)
        for column, size in zip(group, sizes, strict=True):
            justify: JustifyMethod = "right" if column.numeric else "left"
            table.add_column(_text(column.name), justify=justify, overflow="fold", width=size)
        for cells in zip(*(column.cells for column in group), strict=True):
            table.add_row(*cells)
        yield table


def _groups(columns: Sequence[_Column], width: int) -> list[list[_Column]]:
    """Which columns stand side by side: all if they fit, however folded, else as many as fit beside the first one, whole."""
    if sum(one.narrow for one in columns) <= _room(len(columns), width):
        return [list(columns)] if columns else []
    first, *others = columns
    groups = [[first]]
    for column in others:
        beside = [*groups[-1][1:], column]
        if len(beside) > 1 and first.narrow + sum(one.least for one in beside) > _room(len(beside) + 1, width):
            groups.append([first])
        groups[-1].append(column)
    return groups


def _widths(columns: Sequence[_Column], width: int) -> list[int]:
    """Of each column, without padding: the widest give way first, each down to a limit, which is lowered where it must be."""
    room = _room(len(columns), width)
    sizes = [min(column.natural, width) for column in columns]
    least, narrow = [one.least for one in columns], [one.narrow for one in columns]
    for limits in (least, [narrow[0], *least[1:]], narrow, [1] * len(columns)):
        while sum(sizes) > room:
            able = [k for k, limit in enumerate(limits) if sizes[k] > limit]
            if not able:
                break
            sizes[max(able, key=sizes.__getitem__)] -= 1
    return sizes


def _room(columns: int, width: int) -> int:
    """What borders and padding leave for so many columns."""
    return width - 3 * columns - 1


def _width(text: str) -> int:
    return cell_len(text)


def _cut(text: str, longest: int = LONGEST_CELL) -> str:
    """A text as a person is shown it: a long one keeps its beginning and its end."""
    if len(text) <= longest:
        return text
    end = longest // 4
    return f"{text[: longest - end]} … {text[-end:]} ({len(text):,} characters)"


def _longest_word(texts: Iterable[str]) -> int:
    """Of the words that are short enough to stay whole."""
    words = (cell_len(word) for text in texts for word in text.split())
    return max((size for size in words if size <= SHORT), default=0)


def _markdown(names: Sequence[str], rows: Sequence[Mapping[str, Any]], title: str, caption: str) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(_one_line(text).replace("|", "\\|") for text in cells) + " |"

    rules = ["---" if position == 0 else "--:" for position in range(len(names))]
    lines = [line(names), line(rules), *(line([_bold(row.get(name), name) for name in names]) for row in rows)]
    head = [f"**{title}**", ""] if title else []
    return "\n".join([*head, *lines, *(["", caption] if caption else []), "", ""])


def _bold(value: Any, name: str) -> str:
    return f"**{value}**" if isinstance(value, Best) else cell(value, name)


def _latex(names: Sequence[str], rows: Sequence[Mapping[str, Any]], title: str, caption: str) -> str:
    def line(cells: Sequence[str]) -> str:
        text = " & ".join(_escaped(_one_line(text)) for text in cells)
        # after the \\ of the line above, LaTeX would take a [ for the begin of its argument
        return ("{}" if text.startswith("[") else "") + text + r" \\"

    body = [line([cell(row.get(name), name) for name in names]) for row in rows]
    head = [r"\begin{table}", rf"\caption{{{_escaped('. '.join(part for part in (title, caption) if part))}}}"]
    table = [rf"\begin{{tabular}}{{l{'r' * (len(names) - 1)}}}", r"\hline", line(names), r"\hline", *body, r"\hline"]
    return "\n".join([*head, *table, r"\end{tabular}", r"\end{table}", ""])


def _escaped(text: str) -> str:
    """Text that LaTeX prints as it stands."""
    special = {"\\": r"\textbackslash{}", "±": r"$\pm$", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(special.get(sign, f"\\{sign}" if sign in "&%$#_{}" else sign) for sign in text)


def _is_figure(value: Any) -> bool:
    return isinstance(value, (int, float, type(None))) or (isinstance(value, str) and value.endswith(("%", "n/a", FEW)))


def share(value: float | None) -> str:
    """A share of 0 to 1 in per cent."""
    return "n/a" if value is None else f"{value:.1%}"


def with_spread(values: Sequence[float | None], spelled: Callable[[float], str] = "{:.4f}".format) -> str:
    """Mean ± standard deviation (of the sample, n − 1) over seeds."""
    known = [value for value in values if value is not None]
    if len(known) < len(values) or not known:
        return "n/a"
    mean = sum(known) / len(known)
    if len(known) == 1:
        return spelled(mean)
    sd = (sum((value - mean) ** 2 for value in known) / (len(known) - 1)) ** 0.5
    return f"{spelled(mean)} ± {spelled(sd)}"


def _one_line(text: str) -> str:
    return " ".join(text.split())
