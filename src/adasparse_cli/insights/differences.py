"""Which arm is better, and whether that is real: the first finding of a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adasparse_cli.findings.figures import hover, label, places
from adasparse_cli.findings.finding import Figure, Finding, Interval, Style, Table, estimate
from adasparse_cli.studies.subject import Subject

SHOWN_METRICS = {
    "gauc_domain": "GAUC by domain",
    "auc": "AUC",
    "log_loss": "log loss",
}


def verdict(source: Subject) -> Finding:
    """The table, and which of its differences are real."""
    comparison = source.comparison
    table = comparison.table()
    base = comparison.baseline
    test = comparison.counts("test")
    quality = [
        {
            "arm": row["arm"],
            "seeds": row["seeds"],
            **{name: spread(row, metric, test) for metric, name in SHOWN_METRICS.items()},
            "multiply-adds per row": row["multiply_adds"],
            "parameters beside embeddings": row["parameters"],
            "seconds per run": None if row["seconds"] is None else round(row["seconds"], 1),
        }
        for row in table
    ]
    tables = [
        Table(
            name="quality",
            title="Mean ± standard deviation over seeds, test rows",
            rows=quality,
            caption=comparison.caption,
        )
    ]
    judged = [row for row in table if any(row[f"{metric}_difference"] is not None for metric in SHOWN_METRICS)]
    answers: list[str] = []
    figures: list[Figure] = []
    if judged:
        answers = said_of(judged, base, why_no_interval=comparison.why_no_interval("gauc_domain"))
        for metric, name in SHOWN_METRICS.items():
            tables.append(
                Table(
                    name=f"difference-{metric}",
                    title=f"{name}: difference to {base}",
                    rows=[difference_row(row, metric) for row in judged],
                    caption="less is better" if metric == "log_loss" else "",
                )
            )
        if comparison.worlds:
            tables.append(
                Table(
                    name="worlds",
                    title=f"GAUC by domain: difference to {base} by world",
                    rows=by_world(judged, "gauc_domain"),
                    caption="Worlds are synthetic data drawn with other seeds. The intervals above also cover the chance of worlds.",
                )
            )
        drawn = [row for row in judged if row["gauc_domain_difference"] is not None]
        figures = [forest(drawn, base)] if drawn else []
    elif len(comparison.arms) > 1:
        answers = ["No difference can be judged: an arm lacks its runs, or there are no test rows."]
    answers += [f"Failed: {name}: {why}" for name, why in source.failed.items()]
    return Finding(
        name="verdict",
        title="Which differences are real" if len(comparison.arms) > 1 else "How well it does",
        question=source.question,
        answers=answers,
        tables=tables,
        figures=figures,
        notes=(
            "Arms are trained with the same seeds on the same rows. An interval covers the chance of seeds and that of "
            f"test rows, resampled by {comparison.cluster}; p is corrected for the number of arms (Holm).",
            "`real`: the corrected p is below 0.05. `detectable`: the smallest true difference that such a study finds with a "
            "chance of 80 %, after the same correction.",
            "A domain in which both arms have the same AUC counts half in `domains better`.",
            "GAUC by domain is the mean of the domains' AUC weighted by their test rows; domains of one class are left out, "
            "the same for every arm.",
        ),
    )


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


def said_of(table: Sequence[Mapping[str, Any]], baseline: str, *, why_no_interval: str) -> list[str]:
    """Sentences: what is better, what is worse, what is not decided, by GAUC by domain; or why nobody can say.

    Args:
        table: the arms with a difference to the baseline.
        why_no_interval: what is said of arms that have a difference without an interval.
    """
    better = [row for row in table if row["gauc_domain_real"] and row["gauc_domain_difference"] > 0]
    worse = [row for row in table if row["gauc_domain_real"] and row["gauc_domain_difference"] < 0]
    known = [row for row in table if row["gauc_domain_low"] is not None]
    open_rows = [row for row in known if row not in better and row not in worse]
    lines = []
    for word, rows in (("better", better), ("worse", worse)):
        ordered = sorted(rows, key=lambda row: -abs(row["gauc_domain_difference"]))
        if ordered:
            each = "; ".join(f"{row['arm']} {_signed(row, 'gauc_domain')}" for row in ordered)
            lines.append(f"By GAUC, {word} than {baseline}: {each}.")
    if open_rows:
        each = "; ".join(f"{row['arm']} {_signed(row, 'gauc_domain')}" for row in open_rows)
        lines.append(f"Undecided against {baseline}: {each}.")
    without = [row for row in table if row["gauc_domain_difference"] is not None and row not in known]
    if without:
        each = ", ".join(row["arm"] for row in without)
        lines.append(f"No interval for {each}, and nothing is claimed: {why_no_interval}.")
    if any(row["gauc_domain_difference"] is None for row in table):
        lines.append("GAUC by domain is not available: no domain has test rows of both classes.")
    return lines


def spread(row: Mapping[str, Any], metric: str, test: Mapping[str, Any]) -> str | None:
    """Mean ± standard deviation, in words.

    Args:
        test: rows and positives of the test split.
    """
    found = estimate(row[metric], test.get("rows"), test.get("positives"), sd=row[f"{metric}_sd"])
    return f"{found:.4f}" if isinstance(found, float) else found


def difference_row(row: Mapping[str, Any], metric: str) -> dict[str, Any]:
    """One arm's difference to the baseline, for a table."""
    shown = {
        "arm": row["arm"],
        "difference": row[f"{metric}_difference"],
        "95 % interval": Interval(row[f"{metric}_low"], row[f"{metric}_high"]),
        "p (Holm)": row[f"{metric}_p_holm"],
        "real": row[f"{metric}_real"],
        "detectable": row[f"{metric}_detectable"],
    }
    if metric == "gauc_domain":
        shown["domains better, %"] = None if row["uplift_domains"] is None else round(100 * row["uplift_domains"], 1)
        shown["weighted by rows, %"] = None if row["uplift_rows"] is None else round(100 * row["uplift_rows"], 1)
    if metric == "auc":
        gain = row["relative_improvement"]
        shown["RelaImpr, %"] = None if gain is None else round(100 * gain, 1)
    return shown


def _signed(row: Mapping[str, Any], metric: str) -> str:
    reach = Interval(row[f"{metric}_low"], row[f"{metric}_high"])
    return f"{row[f'{metric}_difference']:+.4f}" + ("" if reach.low is None else f" {reach}")


def forest(rows: Sequence[Mapping[str, Any]], base: str) -> Figure:
    """Differences, one line per arm, with their intervals; an arm without one is a mark without a bar."""
    ordered = list(reversed(rows))
    known = [row for row in ordered if row["gauc_domain_low"] is not None]
    reach = {
        "type": "data",
        "symmetric": False,
        "array": [_apart(row["gauc_domain_high"], row["gauc_domain_difference"]) for row in ordered],
        "arrayminus": [_apart(row["gauc_domain_difference"], row["gauc_domain_low"]) for row in ordered],
    }
    real = [bool(row["gauc_domain_real"]) for row in ordered]
    trace = {
        "type": "scatter",
        "mode": "markers",
        "x": [row["gauc_domain_difference"] for row in ordered],
        "y": list(range(len(ordered))),
        "text": [hover(row["arm"]) for row in ordered],
        "marker": {
            "size": 10,
            "color": Style.of(0).colour,
            "symbol": ["circle" if one else "circle-open" for one in real],
        },
        **({"error_x": reach} if known else {}),
        "hovertemplate": "%{text}: %{x:+.4f}<extra></extra>",
    }
    layout = {
        "xaxis": {
            "title": {"text": f"GAUC by domain, difference to {label(base)}"},
            "zeroline": True,
            "zerolinewidth": 2,
        },
        "yaxis": {**places([row["arm"] for row in ordered]), "zeroline": False},
        "height": 160 + 34 * len(ordered),
        "showlegend": False,
    }
    bars = {len(ordered): ", with 95 % intervals", 0: ""}.get(len(known), ", with 95 % intervals where they are known")
    lacking = (
        ""
        if len(known) == len(ordered)
        else " A mark without a bar has no interval: how far chance reaches is not known."
    )
    return Figure(
        name="differences",
        title=f"Difference to {base} in GAUC by domain{bars}",
        summary=f"Filled marks are real after correction, open ones are not decided. Right of 0 is better.{lacking}",
        traces=[trace],
        layout=layout,
    )


def _apart(high: float | None, low: float | None) -> float | None:
    return None if high is None or low is None else high - low
