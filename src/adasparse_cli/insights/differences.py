"""The differences between the arms and the baseline: the first section of a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adasparse_cli.analysis.verdict import SMALLEST
from adasparse_cli.findings.card import ArmOutcome, Outcome
from adasparse_cli.findings.figures import hover, label
from adasparse_cli.findings.finding import Figure, Finding, Interval, Support, Table, cell, estimate
from adasparse_cli.insights.card import LOWER_IS_BETTER, SHOWN_METRICS, headline, outcome_of, outcomes
from adasparse_cli.insights.cost import rates_shown
from adasparse_cli.studies.comparison import Comparison
from adasparse_cli.studies.subject import Subject

# Column of the interval of a difference.
INTERVAL = "95 % interval"
ROW_HEIGHT = 46  # per arm in the forest plot, in pixels


def verdict(source: Subject) -> Finding:
    """The quality of each arm, its differences from the baseline, and how to read them."""
    comparison = source.comparison
    table, base = comparison.table(), comparison.baseline
    judged = [row for row in table if any(row[f"{metric}_difference"] is not None for metric in SHOWN_METRICS)]
    tables = [_quality(comparison, table)]
    answers: list[str] = []
    figures: list[Figure] = []
    if judged:
        for metric, name in SHOWN_METRICS.items():
            arms = outcomes(comparison, metric)
            if not arms:
                answers.append(f"{name} is not available: {NOT_AVAILABLE[metric]}.")
                continue
            said = headline(arms, base, why_no_interval=comparison.why_no_interval(metric))
            # the text before it names the metric
            answers.append(f"{name}: {said.removeprefix('Undecided: ').removeprefix('No verdict: ')}")
            tables.append(
                Table(
                    name=f"difference-{metric}",
                    title=f"{name}: difference to {base}",
                    rows=[difference_row(row, metric) for row in judged],
                    caption="Lower is better." if metric in LOWER_IS_BETTER else "",
                    choice=name,
                    support=difference_support(comparison),
                )
            )
        if comparison.worlds:
            tables.append(
                Table(
                    name="worlds",
                    title=f"GAUC by domain: difference to {base} by world",
                    rows=by_world(judged, "gauc_domain"),
                    caption="Worlds are synthetic data sets drawn with different seeds. The intervals above include the variation between worlds.",
                    support=world_support(comparison),
                )
            )
        plot = forest(outcomes(comparison, "gauc_domain"), base)
        figures = [plot] if plot else []
    else:
        answers = ["No difference can be computed: an arm lacks its runs, or there are no test rows."]
    answers += [f"Failed: {name}: {why}" for name, why in source.failed.items()]
    return Finding(
        name="verdict",
        title="Differences",
        question="By how much does each arm differ from the baseline?",
        answers=answers,
        tables=tables,
        figures=figures,
        notes=_notes(comparison),
    )


NOT_AVAILABLE = {
    "gauc_domain": "no domain has test rows of both classes",
    "auc": "the test rows are all of one class",
    "log_loss": "an arm has no log loss",
}


def _notes(comparison: Comparison) -> Sequence[str]:
    return (
        "All arms are trained with the same seeds on the same rows. A 95 % interval covers the variation between seeds and the "
        f"variation of the test rows, resampled by {comparison.cluster}. p is corrected for the number of arms (Holm).",
        "Better and worse: the corrected p is below 0.05. No difference: the interval, corrected for the number of arms, is inside "
        f"±{SMALLEST}. Undecided: neither.",
        "Detectable, or visible from: the smallest true difference that a study of this size detects with a probability of 80 %, after "
        "the correction. Figures for more rows or more seeds are rough: they use the spread in this study, and assume that "
        "additional test rows come with additional domains or users of the same kind. The part of the error that test rows "
        "cause falls with the square root of their number; the part that seeds cause does not.",
        "A domain in which both arms have the same AUC counts as one half in `domains better`.",
        "GAUC by domain is the mean of the AUC within each domain, weighted by test rows. Domains with one class are left out, the "
        "same domains for every arm.",
    )


def _quality(comparison: Comparison, table: Sequence[Mapping[str, Any]]) -> Table:
    """Metrics and cost, one row per arm."""
    test = comparison.counts("test")
    return Table(
        name="quality",
        title="Test metrics and cost, mean ± standard deviation over seeds",
        rows=[
            {
                "arm": row["arm"],
                "seeds": row["seeds"],
                **{name: spread(row, metric, test) for metric, name in SHOWN_METRICS.items()},
                "multiply-adds per row": row["multiply_adds"],
                "parameters without embeddings": row["parameters"],
                "seconds per run": None if row["seconds"] is None else round(row["seconds"], 1),
                **rates_shown(row, table),
            }
            for row in table
        ],
        caption=comparison.caption,
    )


def test_support(comparison: Comparison, estimates: Mapping[str, str]) -> Support:
    """The rows that estimates of a comparison are based on: its test rows."""
    test = comparison.counts("test")
    return Support(estimates=estimates, rows=test.get("rows"), positives=test.get("positives"))


def difference_support(comparison: Comparison) -> Support:
    """The rows that `difference_row` is based on."""
    return test_support(comparison, {"difference": INTERVAL})


def world_support(comparison: Comparison) -> Support:
    """The rows that `by_world` is based on."""
    return test_support(comparison, {f"world {world}": "" for world in comparison.worlds or ()})


def difference_tables(
    rows: Sequence[Mapping[str, Any]], metric: str, title: str, comparison: Comparison
) -> list[Table]:
    """The differences of arms in a metric, without columns that have no values; for several worlds also by world."""
    shown = [difference_row(row, metric) for row in rows]
    # the page shows the last column; a terminal is too narrow
    names = [name for name in shown[0] if name != "weighted by rows, %"]
    held = [name for name in names if any(cell(row[name]) != "n/a" for row in shown)]
    support = difference_support(comparison)
    known = [{name: row[name] for name in held} for row in shown]
    tables = [Table(name=f"difference-{metric}", title=title, rows=known, support=support)]
    if comparison.worlds:
        worlds = by_world(rows, metric)
        tables.append(Table(name="worlds", title=f"{title} by world", rows=worlds, support=world_support(comparison)))
    return tables


def shown_difference(row: Mapping[str, Any], metric: str, comparison: Comparison) -> str:
    """An arm's difference from the baseline, with as many digits as its test rows support."""
    own = difference_row(row, metric)
    return Table(name="", title="", rows=[own], support=difference_support(comparison)).text(own, "difference")


def by_world(rows: Sequence[Mapping[str, Any]], metric: str) -> list[dict[str, Any]]:
    """The difference of each arm in each world."""
    start = f"{metric}_difference_world_"
    return [
        {
            "arm": row["arm"],
            **{f"world {key.removeprefix(start)}": row[key] for key in row if key.startswith(start)},
        }
        for row in rows
    ]


def spread(row: Mapping[str, Any], metric: str, test: Mapping[str, Any]) -> str | None:
    """Mean ± standard deviation, as text.

    Args:
        test: rows and positives of the test split.
    """
    found = estimate(row[metric], test.get("rows"), test.get("positives"), sd=row[f"{metric}_sd"])
    return f"{found:.4f}" if isinstance(found, float) else found


def difference_row(row: Mapping[str, Any], metric: str) -> dict[str, Any]:
    """One arm's difference from the baseline, as a table row."""
    shown = {
        "arm": row["arm"],
        "verdict": outcome_of(row, metric),
        "difference": row[f"{metric}_difference"],
        INTERVAL: Interval(row[f"{metric}_low"], row[f"{metric}_high"]),
        "p (Holm)": row[f"{metric}_p_holm"],
        "detectable": row[f"{metric}_detectable"],
    }
    if metric == "gauc_domain":
        shown["domains better, %"] = None if row["uplift_domains"] is None else round(100 * row["uplift_domains"], 1)
        shown["weighted by rows, %"] = None if row["uplift_rows"] is None else round(100 * row["uplift_rows"], 1)
    if metric == "auc":
        gain = row["relative_improvement"]
        shown["RelaImpr, %"] = None if gain is None else round(100 * gain, 1)
    return shown


def forest(arms: Sequence[ArmOutcome], base: str) -> Figure | None:
    """Differences with their intervals, one line per arm in the arm's colour and mark, and a band for negligible differences.

    Returns:
        None if no arm has an interval. Arms without an interval are omitted.
    """
    known = [one for one in reversed(arms) if one.difference is not None and one.interval.low is not None]
    if not known:
        return None
    traces, labels = [], []
    for place, one in enumerate(known):
        low, high = one.interval.low, one.interval.high
        assert one.difference is not None
        assert low is not None
        assert high is not None
        real = one.outcome in (Outcome.better, Outcome.worse)
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": label(one.arm),
                "x": [one.difference],
                "y": [place],
                "text": [hover(one.arm)],
                "marker": {
                    "size": 11,
                    "color": one.style.colour,
                    "symbol": one.style.mark if real else f"{one.style.mark}-open",
                    "line": {"width": 2},
                },
                "error_x": {
                    "type": "data", "symmetric": False, "array": [high - one.difference],
                    "arrayminus": [one.difference - low], "color": one.style.colour, "thickness": 2, "width": 5,
                },
                "hovertemplate": f"%{{text}}: %{{x:+.4f}} {one.interval}<extra></extra>",
            }
        )  # fmt: skip
        labels.append(
            {
                "xref": "paper", "x": 0, "xanchor": "left", "yref": "y", "y": place, "yshift": 17, "showarrow": False,
                "text": f"{label(one.arm)} {one.difference:+.4f}, {one.outcome}", "align": "left",
            }
        )  # fmt: skip
    band = {
        "type": "rect", "xref": "x", "yref": "paper", "x0": -SMALLEST, "x1": SMALLEST, "y0": 0, "y1": 1,
        "fillcolor": "rgba(128,128,128,0.3)", "line": {"width": 0}, "layer": "below",
    }  # fmt: skip
    layout = {
        "xaxis": {
            "title": {"text": f"GAUC by domain, difference to {label(base)}"},
            "zeroline": True,
            "nticks": 7,
        },
        "yaxis": {"showticklabels": False, "showgrid": False, "zeroline": False, "range": [-0.6, len(known) - 0.2]},
        "shapes": [band],
        "annotations": labels,
        "height": 110 + ROW_HEIGHT * len(known),
        "showlegend": False,
    }
    left_out = [one.arm for one in arms if one.interval.low is None]
    lacking = f" Without an interval, and not shown: {', '.join(left_out)}." if left_out else ""
    return Figure(
        name="differences",
        title=f"Difference to {base} in GAUC by domain, with 95 % intervals",
        summary="Right of 0 is better. Filled marks differ significantly after correction, open marks do not. The grey band marks "
        f"differences up to ±{SMALLEST}, which do not matter.{lacking}",
        traces=traces,
        layout=layout,
    )
