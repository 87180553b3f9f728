"""Findings as one page that works offline: text, tables that sort and filter, plots. Floor 1: imports only findings."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from adasparse_cli import __version__
from adasparse_cli.findings.card import Card
from adasparse_cli.findings.finding import Figure, Finding, Interval, Table, cell
from adasparse_cli.findings.wording import two_digits
from adasparse_cli.page.marks import legend, mark
from adasparse_cli.page.tints import tints

COMMAND = "adasparse "


@dataclass(frozen=True, kw_only=True)
class Page:
    """The content of a page.

    Args:
        lead: the question, below the title. card: the answer, on the first screen.
        facts: main facts about the data. footer: fingerprints and versions.
    """

    title: str
    lead: str
    facts: Mapping[str, str]
    findings: Sequence[Finding]
    card: Card | None = None
    footer: Mapping[str, str] = field(default_factory=dict)


def page_text(page: Page) -> str:
    """The page as HTML. All text is escaped, and nothing is loaded from other places."""
    folder = files("adasparse_cli.page")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "cell": cell,
        "figures": _is_figures,
        "sentence": _with_code,
        "command": _as_command,
        "legend": legend,
        "tints": tints,
        "choices": _choices,
        "rounded": two_digits,
        "rank": _rank,
        "word": lambda outcome: str(outcome).replace(" ", "-"),
    }
    environment.globals["mark"] = mark
    template = environment.from_string((folder / "page.html").read_text(encoding="utf-8"))
    plots = {f"{finding.name}-{figure.name}": _plot(figure) for finding in page.findings for figure in finding.figures}
    return template.render(
        page=page,
        version=__version__,
        style=Markup((folder / "page.css").read_text(encoding="utf-8")),
        script=Markup((folder / "page.js").read_text(encoding="utf-8")),
        plotly=Markup(get_plotlyjs()) if plots else "",
        plots=Markup(embedded(plots)),
    )


def embedded(value: Any) -> str:
    """A value as JSON that is safe inside a script element."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _plot(figure: Figure) -> dict[str, Any]:
    """A figure without tags in its texts, except the tags of this package's labels: plotly interprets tags in every text."""
    plot: dict[str, Any] = _inert({"data": list(figure.traces), "layout": dict(figure.layout)})
    return plot


def _inert(value: Any) -> Any:
    if isinstance(value, str):
        return re.sub(r"<(?!br>|/?extra>)", "&lt;", value)
    if isinstance(value, Mapping):
        return {name: _inert(one) for name, one in value.items()}
    return [_inert(one) for one in value] if isinstance(value, (list, tuple)) else value


def _is_figures(table: Table, name: str) -> bool:
    """Whether all values of a column are numbers."""
    return all(row.get(name) is None or isinstance(row[name], (int, float, Interval)) for row in table.rows)


def _rank(value: Any) -> float | None:
    """The sort key of a cell: the number, or the middle of an interval; None for other values."""
    if isinstance(value, Interval):
        return None if value.low is None or value.high is None else (value.low + value.high) / 2
    return value if isinstance(value, (int, float)) and value == value else None


def _choices(finding: Finding) -> list[Table]:
    """The tables that share one place on the page, with buttons to choose; empty if there is nothing to choose."""
    found = [table for table in finding.tables if table.choice and table.rows]
    return found if len(found) > 1 else []


def _with_code(text: str) -> Markup:
    """Text with `code` between backquotes; everything is escaped first."""
    return Markup(re.sub(r"`([^`]+)`", lambda found: _code(found[1]), str(Markup.escape(text))))


def _as_command(text: str) -> Markup | str:
    """A cell with a command, with a copy button; other text unchanged."""
    return Markup(_code(str(Markup.escape(text)))) if text.startswith(COMMAND) else text


def _code(escaped: str) -> str:
    return f'<code class="command">{escaped}</code>' if escaped.startswith(COMMAND) else f"<code>{escaped}</code>"
