"""Quality against cost: the GAUC of each arm against the rows per second that it serves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from adasparse_cli.findings.figures import label, with_intervals
from adasparse_cli.findings.finding import Figure, Finding, Table
from adasparse_cli.studies.comparison import Comparison

_COLUMNS = {
    "training_rows_per_second": "training rows/s",
    "serving_rows_per_second": "serving rows/s",
    "sub_network_rows_per_second": "sub-networks rows/s",
}
HOW_MEASURED = (
    "Serving: the first rows of the test split, up to 8,192, from ids to logits in one thread's processor time at the end of each run; NumPy, or torch for models that "
    "only torch computes. Sub-networks: rows of domains with at least 8 rows take the sub-network of their domain, as an exported model does. Each "
    "round also times fixed matrix products; rates are scaled by them, so that runs at slower and faster moments of a machine can be compared."
)
TRAINING = "Training rows/s are those of the whole run, with its threads and whatever else the machine did."


def rates_shown(row: Mapping[str, Any], table: Sequence[Mapping[str, Any]]) -> dict[str, int | None]:
    """The measured rates of an arm as columns of a table; a rate that no arm has is left out."""
    return {
        name: None if row[key] is None else round(row[key])
        for key, name in _COLUMNS.items()
        if any(one[key] is not None for one in table)
    }


def cost_finding(comparison: Comparison) -> Finding | None:
    """The picture and its table; None with one arm, or if fewer than two arms were measured."""
    table = comparison.table()
    figure = cost_figure(comparison, table)
    if figure is None:
        return None
    base = comparison.baseline
    usual = next((_served(row) for row in table if row["arm"] == base), None)
    rows = [
        {
            "arm": row["arm"],
            "GAUC by domain": row["gauc_domain"],
            **rates_shown(row, table),
            f"serving, % of {base}": None
            if usual is None or _served(row) is None
            else round(100 * _served(row) / usual),
            "multiply-adds per row": row["multiply_adds"],
            "of sub-networks": None
            if row["sub_network_multiply_adds"] is None
            else round(row["sub_network_multiply_adds"]),
        }
        for row in table
    ]
    return Finding(
        name="cost",
        title="Quality against cost",
        question="What does the quality of each arm cost?",
        answers=_answers(table, base),
        tables=[Table(name="cost", title="Measured rates", rows=rows, caption=comparison.caption)],
        figures=[figure],
        notes=(HOW_MEASURED, TRAINING),
    )


def cost_figure(comparison: Comparison, table: Sequence[Mapping[str, Any]]) -> Figure | None:
    """GAUC against serving rows/s, one mark per arm in its style; None if fewer than two arms have both."""
    known = [row for row in table if row["gauc_domain"] is not None and _served(row) is not None]
    if len(known) < 2:
        return None
    base = comparison.baseline
    traces = []
    for row in known:
        mean, gap = row["gauc_domain"], row["gauc_domain_difference"]
        ends = [row["gauc_domain_low"], row["gauc_domain_high"]]
        interval = tuple(None if gap is None or end is None else mean + end - gap for end in ends)
        served = _served(row)
        cut = "" if row["sub_network_rows_per_second"] is None else " by sub-networks"
        of_base = "" if gap is None else f", {gap:+.4f} to {base}"
        traces.append(
            with_intervals(
                comparison.place(row["arm"]),
                row["arm"],
                [served],
                [mean],
                [(interval[0], interval[1])],
                labels=[f"{served:,.0f} rows/s{cut}{of_base}"],
                format=".4f",
            )
        )
    level = next((row["gauc_domain"] for row in known if row["arm"] == base), None)
    line = {
        "type": "line", "xref": "paper", "x0": 0, "x1": 1, "yref": "y", "y0": level, "y1": level,
        "line": {"width": 1, "dash": "dot", "color": "rgba(128,128,128,0.8)"}, "layer": "below",
    }  # fmt: skip
    return Figure(
        name="cost",
        title="GAUC by domain against rows served per second",
        summary=f"Up and to the right is better. Bars are 95 % intervals of the difference to {base}, whose GAUC is the dotted line. AdaSparse "
        "is shown with its sub-networks if it has any.",
        traces=traces,
        layout={
            "xaxis": {
                "title": {"text": "rows served per second of one thread"},
                "type": "log",
                **_ticks([_served(row) for row in known]),
            },
            "yaxis": {"title": {"text": f"GAUC by domain; line: {label(base)}"}},
            "shapes": [] if level is None else [line],
        },
    )


def _ticks(rates: Sequence[float]) -> dict[str, Any]:
    """Ticks at 1, 2 and 5 times powers of ten; plotly labels those between powers with a digit alone."""
    first, last = math.floor(math.log10(min(rates))), math.ceil(math.log10(max(rates)))
    values = [step * 10**power for power in range(first, last + 1) for step in (1, 2, 5)]
    return {"tickmode": "array", "tickvals": values, "ticktext": [f"{value:,}" for value in values]}


def _served(row: Mapping[str, Any]) -> Any:
    """Rows per second, with sub-networks if the arm has any."""
    cut = row["sub_network_rows_per_second"]
    return row["serving_rows_per_second"] if cut is None else cut


def _answers(table: Sequence[Mapping[str, Any]], base: str) -> list[str]:
    """Which arms are faster than the baseline and not worse, and how much faster the fastest of them is."""
    usual = next((_served(row) for row in table if row["arm"] == base), None)
    if usual is None:
        return [f"The serving rate of {base} was not measured."]
    faster = [row for row in table if _served(row) is not None and _served(row) > usual and row["arm"] != base]
    if not faster:
        return [f"No arm serves more rows per second than {base}."]

    def named(rows: Sequence[Mapping[str, Any]]) -> str:
        ordered = sorted(rows, key=lambda row: -_served(row))
        return ", ".join(f"{row['arm']} ({_served(row) / usual:.1f} times)" for row in ordered)

    better = [row for row in faster if row["gauc_domain_real"] and row["gauc_domain_difference"] > 0]
    worse = [row for row in faster if row["gauc_domain_real"] and row["gauc_domain_difference"] < 0]
    other = [row for row in faster if row not in better and row not in worse]
    kinds = (
        (f"Faster and better than {base}", better),
        (f"Faster, without a significant difference to {base}", other),
        (f"Faster and worse than {base}", worse),
    )
    return [f"{what}: {named(rows)}." for what, rows in kinds if rows]
