"""Plots that several findings have: a series per arm, a gain with its intervals, marks per domain."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from adasparse_cli.findings import Figure, Style
from adasparse_cli.jobs.wording import half_width


def series(k: int, name: str, x: Sequence[Any], y: Sequence[Any]) -> dict[str, Any]:
    """The k-th of several lines; it differs from the others in colour, mark and dash."""
    style = Style.of(k)
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": html.escape(name),
        "x": list(x),
        "y": list(y),
        "line": {"color": style.colour, "dash": style.dash},
        "marker": {"symbol": style.mark, "size": 8},
    }


def gains(
    name: str,
    *,
    title: str,
    summary: str,
    x: Sequence[float],
    y: Sequence[float],
    intervals: Sequence[str | None],
    labels: Sequence[str],
    xaxis: dict[str, Any],
    base: str,
) -> Figure:
    """Differences in GAUC to a baseline along a ladder, with the bars of their intervals where all have one.

    Args:
        intervals: in words, as tables hold them. labels: what each point is.
    """
    trace = series(0, title, x, y) | {
        "text": [html.escape(label) for label in labels],
        "hovertemplate": "%{text}<br>%{x}: %{y:+.4f}<extra></extra>",
    }
    reach = [half_width(text) for text in intervals]
    if None not in reach:
        trace["error_y"] = {"type": "data", "array": reach}
    zero = {"title": {"text": f"GAUC − GAUC of {html.escape(base)}"}, "zeroline": True, "zerolinewidth": 2}
    return Figure(
        name=name,
        title=title,
        summary=summary,
        traces=[trace],
        layout={"xaxis": xaxis, "yaxis": zero, "showlegend": False},
    )


def by_exposure(
    k: int,
    name: str,
    train_rows: Sequence[int],
    values: Sequence[float | None],
    domains: Sequence[str],
    *,
    unit: str = "",
) -> dict[str, Any]:
    """One mark per domain against its training rows."""
    style = Style.of(k)
    return {
        "type": "scatter",
        "mode": "markers",
        "name": html.escape(name),
        "x": [max(rows, 1) for rows in train_rows],
        "y": list(values),
        "text": [html.escape(domain) for domain in domains],
        "marker": {"symbol": style.mark, "color": style.colour, "opacity": 0.6, "size": 7},
        "hovertemplate": "%{text}<br>%{x:,} training rows: %{y:+.4f}" + unit + "<extra></extra>",
    }


def exposure_layout(title: str) -> dict[str, Any]:
    """Axes of such marks."""
    return {
        "xaxis": {"title": {"text": "training rows"}, "type": "log"},
        "yaxis": {"title": {"text": html.escape(title)}, "zeroline": True, "zerolinewidth": 2},
    }
