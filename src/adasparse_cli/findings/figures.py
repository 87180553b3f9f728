"""Plots shared by several findings: lines or marks with intervals per arm, gains along a series, marks per domain."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Sequence
from typing import Any

from adasparse_cli.findings.finding import Figure, Interval, Style

LONGEST_LABEL, HOVER_WIDTH = 40, 60


def label(text: str) -> str:
    """A text from data as plotly shows it on an axis or in a legend. A long text is shortened in the middle.

    Plotly interprets tags and knows few entities; `&quot;` is not one of them.
    """
    kept = LONGEST_LABEL - 1
    short = text if len(text) <= LONGEST_LABEL else f"{text[: kept - kept // 3]}…{text[-(kept // 3) :]}"
    return html.escape(short, quote=False)


def hover(text: str) -> str:
    """A text from data as plotly shows it in a tooltip: complete, over several lines if it is long."""
    return "<br>".join(html.escape(line, quote=False) for line in textwrap.wrap(text, HOVER_WIDTH))


def places(names: Sequence[str]) -> dict[str, Any]:
    """An axis with a name at each of 0, 1, …, so that names with equal shortened forms stay separate."""
    return {"tickmode": "array", "tickvals": list(range(len(names))), "ticktext": [label(name) for name in names]}


def series(k: int, name: str, x: Sequence[Any], y: Sequence[Any], *, marks: int | None = None) -> dict[str, Any]:
    """A line in the k-th style, which has a unique colour, mark and dash.

    Args:
        marks: largest number of marks along the line; None for a mark at every point.
    """
    style = Style.of(k)
    most = {} if marks is None else {"maxdisplayed": marks}
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": label(name),
        "x": list(x),
        "y": list(y),
        "line": {"color": style.colour, "dash": style.dash},
        "marker": {"symbol": style.mark, "size": 8, "color": style.colour, **most},
    }


def with_intervals(
    k: int,
    name: str,
    x: Sequence[float],
    y: Sequence[float | None],
    intervals: Sequence[tuple[float | None, float | None]],
    *,
    labels: Sequence[str],
    format: str = "+.4f",
) -> dict[str, Any]:
    """Marks in the k-th style with bars for their intervals; a point without an interval has no bar.

    Args:
        labels: description of each point. format: of y, in the tooltip.
    """
    style = Style.of(k)
    ends = list(zip(y, intervals, strict=True))
    return {
        "type": "scatter",
        "mode": "markers",
        "name": label(name),
        "x": list(x),
        "y": list(y),
        "text": [hover(text) for text in labels],
        "marker": {"symbol": style.mark, "size": 9, "color": style.colour},
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [None if value is None or high is None else high - value for value, (_, high) in ends],
            "arrayminus": [None if value is None or low is None else value - low for value, (low, _) in ends],
            "color": style.colour,
            "thickness": 1.5,
            "width": 4,
        },
        "hovertemplate": f"{label(name)}<br>%{{text}}<br>%{{y:{format}}}<extra></extra>",
    }


def shown_at_first(shown: bool) -> dict[str, Any]:
    """Whether a trace is visible when the page opens; its legend entry toggles it."""
    return {"visible": True if shown else "legendonly"}


def gains(
    name: str,
    *,
    title: str,
    summary: str,
    x: Sequence[float],
    y: Sequence[float],
    intervals: Sequence[Interval],
    labels: Sequence[str],
    xaxis: dict[str, Any],
    base: str,
) -> Figure:
    """Differences in GAUC from a baseline along a series of settings, with bars for intervals if all points have one.

    Args:
        labels: description of each point.
    """
    trace = series(1, title, x, y) | {
        "text": [hover(text) for text in labels],
        "hovertemplate": "%{text}<br>%{x}: %{y:+.4f}<extra></extra>",
    }
    reach = [interval.half_width for interval in intervals]
    if None not in reach:
        trace["error_y"] = {"type": "data", "array": reach}
    zero = {"title": {"text": f"GAUC − GAUC of {label(base)}"}, "zeroline": True, "zerolinewidth": 2}
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
        "name": label(name),
        "x": [max(rows, 1) for rows in train_rows],
        "y": list(values),
        "text": [hover(domain) for domain in domains],
        "marker": {"symbol": style.mark, "color": style.colour, "opacity": 0.6, "size": 7},
        "hovertemplate": "%{text}<br>%{x:,} training rows: %{y:+.4f}" + unit + "<extra></extra>",
    }


def exposure_layout(title: str) -> dict[str, Any]:
    """The axes for `by_exposure`."""
    return {
        "xaxis": {"title": {"text": "training rows"}, "type": "log"},
        "yaxis": {"title": {"text": html.escape(title, quote=False)}, "zeroline": True, "zerolinewidth": 2},
    }
