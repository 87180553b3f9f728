"""Calibration of the arms: predicted against actual rates on the test rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adasparse_cli.analysis.calibration import BINS, ReliabilityBin, reliability
from adasparse_cli.findings.figures import shown_at_first, with_intervals
from adasparse_cli.findings.finding import Figure, Finding, Table
from adasparse_cli.findings.wording import mean_or_none
from adasparse_cli.insights.chosen_arms import shown_arms
from adasparse_cli.studies.comparison import Comparison

WIDE = 3  # ratio of the highest to the lowest predicted rate from which axes are logarithmic


def calibration_finding(comparison: Comparison) -> Finding | None:
    """Predicted against actual rates in ten bins; None without test rows."""
    rows = comparison.rows
    if rows is None or not comparison.logits:
        return None
    found = {arm: reliability(rows.labels, seeds) for arm, seeds in comparison.logits.items()}
    table = []
    for arm in comparison.logits:
        metrics = [report["metrics"]["test"] for report in comparison.reports[arm]]
        table.append(
            {
                "arm": arm,
                "predicted / actual": mean_or_none([one["calibration"] for one in metrics]),
                "calibration error (ECE)": mean_or_none([one["calibration_error"] for one in metrics]),
            }
        )
    shown = shown_arms(comparison)
    traces = [
        with_intervals(
            comparison.place(arm),
            arm,
            [one.predicted for one in bins],
            [one.actual for one in bins],
            [(one.low, one.high) for one in bins],
            labels=[f"{one.positives:,} positives of {one.rows:,} rows" for one in bins],
            format=".4f",
        )
        | shown_at_first(arm in shown)
        for arm, bins in found.items()
    ]
    return Finding(
        name="calibration",
        title="Calibration",
        question="Are the predicted rates correct?",
        # for a single arm, the metrics section of the page has both
        tables=[
            Table(
                name="calibration",
                title="All test rows, mean over seeds",
                rows=table,
                caption="Predicted / actual is the sum of the predicted rates over the number of positives: 1 is correct. ECE: 0 is correct.",
            )
        ]
        if len(comparison.arms) > 1
        else [],
        figures=[_figure(traces, [one for bins in found.values() for one in bins])],
    )


def _figure(traces: Sequence[dict[str, Any]], bins: Sequence[ReliabilityBin]) -> Figure:
    """Axes over the range of the data; logarithmic if rates cover a wide range and no bin has a rate of 0."""
    low, high = min(one.predicted for one in bins), max(one.predicted for one in bins)
    logarithmic = all(one.positives for one in bins) and high > WIDE * low > 0
    diagonal = {
        "type": "scatter", "mode": "lines", "name": "", "x": [low, high], "y": [low, high], "showlegend": False,
        "line": {"color": "gray", "width": 1.5, "dash": "dot"}, "hoverinfo": "skip",
    }  # fmt: skip
    kind = {"type": "log", **_ticks()} if logarithmic else {"type": "linear", "nticks": 7}
    scale = "logarithmic axes" if logarithmic else "axes over the range of the data"
    return Figure(
        name="reliability",
        title=f"Actual against predicted rate in {BINS} bins of equal counts",
        summary="On the dotted line, predictions are correct. Above it they are too low, below it too high. Bars are 95 % intervals "
        f"of the actual rate (Wilson); {scale}.",
        traces=[*traces, diagonal],
        layout={
            "xaxis": {"title": {"text": "predicted rate"}, **kind},
            "yaxis": {"title": {"text": "actual rate"}, **kind},
        },
    )


def _ticks() -> dict[str, Any]:
    """Ticks of a logarithmic axis of rates at 1, 2 and 5 times the powers of ten."""
    values = [factor / 10**power for power in range(6, 0, -1) for factor in (1, 2, 5)] + [1.0]
    return {
        "tickmode": "array",
        "tickvals": values,
        "ticktext": [f"{value:.10f}".rstrip("0").rstrip(".") for value in values],
    }
