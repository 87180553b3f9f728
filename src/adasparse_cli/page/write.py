"""Findings as one page that works offline: text, tables that sort and filter, plots. Floor 1: knows findings alone."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from adasparse_cli import __version__
from adasparse_cli.findings.finding import Figure, Finding, Table, cell


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page to be.

    Args:
        facts: what stands at its head, such as the data and their fingerprint.
    """

    title: str
    lead: str
    facts: Mapping[str, str]
    findings: Sequence[Finding]


def page_text(page: Page) -> str:
    """The page as HTML; all text is escaped, and nothing is loaded from elsewhere."""
    folder = files("adasparse_cli.page")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"cell": cell, "figures": _is_figures, "sentence": _with_code}
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
    """A value as JSON that may stand inside a script element."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _plot(figure: Figure) -> dict[str, Any]:
    """A figure whose texts hold no tag but those that our own labels have; plotly reads tags in every text."""
    plot: dict[str, Any] = _inert({"data": list(figure.traces), "layout": dict(figure.layout)})
    return plot


def _inert(value: Any) -> Any:
    if isinstance(value, str):
        return re.sub(r"<(?!br>|/?extra>)", "&lt;", value)
    if isinstance(value, Mapping):
        return {name: _inert(one) for name, one in value.items()}
    return [_inert(one) for one in value] if isinstance(value, (list, tuple)) else value


def _is_figures(table: Table, name: str) -> bool:
    """Whether a column holds numbers alone."""
    return all(row.get(name) is None or isinstance(row[name], (int, float)) for row in table.rows)


def _with_code(text: str) -> Markup:
    """Text with `code` between backquotes; everything is escaped first."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(Markup.escape(text))))
