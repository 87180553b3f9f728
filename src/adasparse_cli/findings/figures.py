"""Plots that several findings have: a line or marks with intervals per arm, a gain along a series, marks per domain."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Sequence
from typing import Any

from adasparse_cli.findings.finding import Figure, Interval, Style

LONGEST_LABEL, HOVER_WIDTH = 40, 60


def label(text: str) -> str:
    """A text from data as plotly shows it on an axis or in a legend: a long one keeps its beginning and its end.

    Plotly reads tags and knows few entities, `&quot;` not among them.
    """
    kept = LONGEST_LABEL - 1
    short = text if len(text) <= LONGEST_LABEL else f"{text[: kept - kept // 3]}…{text[-(kept // 3) :]}"
    return html.escape(short, quote=False)


def hover(text: str) -> str:
    """A text from data as plotly shows it beside the pointer: whole, over several lines where it is long."""
    return "<br>".join(html.escape(line, quote=False) for line in textwrap.wrap(text, HOVER_WIDTH))


def places(names: Sequence[str]) -> dict[str, Any]:
    """An axis with a name at each of 0, 1, …: names that look alike once shortened stay apart."""
    return {"tickmode": "array", "tickvals": list(range(len(names))), "ticktext": [label(name) for name in names]}


def series(k: int, name: str, x: Sequence[Any], y: Sequence[Any], *, marks: int | None = None) -> dict[str, Any]:
    """A line in the k-th style, which has a colour, a mark and a dash of its own.

    Args:
        marks: the most marks along the line; all points have one without it.
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
    """Marks in the k-th style with the bars of their intervals; a point without an interval has no bar.

    Args:
        labels: what each point is. format: of y, beside the pointer.
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
    """Whether a trace is on when the page opens; its entry in the legend switches it on and off."""
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
    """Differences in GAUC to a baseline along a series of settings, with the bars of their intervals where all have one.

    Args:
        labels: what each point is.
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
    """Axes of such marks."""
    return {
        "xaxis": {"title": {"text": "training rows"}, "type": "log"},
        "yaxis": {"title": {"text": html.escape(title, quote=False)}, "zeroline": True, "zerolinewidth": 2},
    }
