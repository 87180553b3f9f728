"""How arms came to be what they are, and what they do: curves, calibration, sparsity, domains, settings."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from adasparse_cli.errors import IntegrityError
from adasparse_cli.findings.figures import hover, places, series
from adasparse_cli.findings.finding import Figure, Finding, Table
from adasparse_cli.findings.wording import mean_or_none
from adasparse_cli.runs import json_types
from adasparse_cli.runs.run_tables import read_domain_rows
from adasparse_cli.runs.saved_run import DOMAINS, METRICS, anew, has_file, run_file
from adasparse_cli.studies.arms import differing_settings
from adasparse_cli.studies.comparison import Comparison, domain_table
from adasparse_cli.typed import flat, require_types

CALIBRATION_BINS = 20
DOMAIN_COLUMNS = ("domain", "train_rows", "test_rows", "test_positives")
NEGLIGIBLE = 0.02  # share of variance below which a part hardly sees the domain
FLAT = 0.001  # shares that differ by less are shown as equal


def curves_finding(comparison: Comparison) -> Finding | None:
    """What was logged on the way: mean over seeds, each arm a line."""
    losses: list[dict[str, Any]] = []
    aucs: list[dict[str, Any]] = []
    for k, arm in enumerate(comparison.arms):
        runs = [list(_lines(folder)) for folder in arm.folders.values()]
        for kind, name, traces in (("train", "loss", losses), ("valid", "auc", aucs)):
            steps, values = _mean_over_seeds(runs, kind, name)
            if kind == "train":
                steps, values = evened(steps, values)
            if steps:
                traces.append(series(k, arm.name, steps, values))
    figures = [
        Figure(
            name=name,
            title=title,
            summary=f"{title}, the mean over seeds at each step that was logged.",
            traces=traces,
            layout={"xaxis": {"title": {"text": "step"}}, "yaxis": {"title": {"text": unit}}},
        )
        for name, title, unit, traces in (
            ("valid", "AUC on the valid split", "AUC", aucs),
            ("loss", "Training loss", "mean cross-entropy", losses),
        )
        if traces
    ]
    if not figures:
        return None
    return Finding(name="curves", title="Training", question="How did they get there?", figures=figures)


def _lines(folder: Path) -> Iterator[dict[str, Any]]:
    """What a run logged; a last line that a power cut tore is no line.

    Raises:
        IntegrityError: another line is damaged.
    """
    if not has_file(folder, METRICS):
        return
    path = run_file(folder, METRICS)
    lines = path.read_bytes().rstrip(b"\n").split(b"\n")
    for number, line in enumerate(lines, start=1):
        try:
            found = json.loads(line)
            known = {"kind", "step"} <= found.keys()
        except (ValueError, AttributeError):
            known = False
        if known:
            require_types(found, json_types.Line, f"{path}:{number}", hint=anew(folder))
            yield found
        elif number < len(lines):
            raise IntegrityError(f"{path}:{number} is damaged", hint=anew(folder))


def _mean_over_seeds(
    runs: Sequence[Sequence[Mapping[str, Any]]], kind: str, name: str
) -> tuple[list[int], list[float]]:
    """Steps that every run logged, and the mean there."""
    found = [{line["step"]: line.get(name) for line in run if line["kind"] == kind} for run in runs]
    if not found:
        return [], []
    steps = [step for step in found[0] if all(own.get(step) is not None for own in found)]
    return steps, [float(np.mean([own[step] for own in found])) for step in steps]


def evened(steps: Sequence[int], values: Sequence[float]) -> tuple[list[int], list[float]]:
    """Means over the steps since the last point, with short stretches joined to the one before.

    A line is logged before each validation too; the mean of the few steps up to it scatters by chance.
    """
    found: list[tuple[int, float, int]] = []  # step, mean, number of steps
    gaps = np.diff([0, *steps])
    for step, value, gap in zip(steps, values, gaps, strict=True):
        if found and gap < np.median(gaps) / 2:
            _, before, number = found.pop()
            found.append((step, (before * number + value * gap) / (number + gap), number + gap))
        else:
            found.append((step, value, gap))
    return [step for step, _, _ in found], [float(value) for _, value, _ in found]


def calibration_finding(comparison: Comparison) -> Finding | None:
    """Predicted against actual rates, in bins of equal counts."""
    rows = comparison.rows
    if rows is None or not comparison.logits:
        return None
    traces: list[dict[str, Any]] = []
    table = []
    top = 0.0
    for k, (arm, seeds) in enumerate(comparison.logits.items()):
        predicted, actual = _reliability(rows.labels, seeds)
        top = max(top, *predicted, *actual)
        traces.append(series(k, arm, predicted, actual))
        metrics = [report["metrics"]["test"] for report in comparison.reports[arm]]
        table.append(
            {
                "arm": arm,
                "predicted over actual positives": mean_or_none([one["calibration"] for one in metrics]),
                "calibration error (ECE)": mean_or_none([one["calibration_error"] for one in metrics]),
            }
        )
    diagonal = {
        "type": "scatter", "mode": "lines", "name": "right", "x": [0, top], "y": [0, top],
        "line": {"color": "gray", "width": 1, "dash": "dot"}, "hoverinfo": "skip",
    }  # fmt: skip
    figure = Figure(
        name="reliability",
        title="Actual against predicted rate, 20 bins of equal counts",
        summary="On the dotted line predictions are right; above it too low, below it too high.",
        traces=[*traces, diagonal],
        layout={"xaxis": {"title": {"text": "predicted rate"}}, "yaxis": {"title": {"text": "rate of positives"}}},
    )
    return Finding(
        name="calibration",
        title="Calibration",
        question="Are the predicted rates right?",
        tables=[Table(name="calibration", title="Over all test rows, mean over seeds; 1 and 0 are right", rows=table)],
        figures=[figure],
    )


def _reliability(labels: np.ndarray, seeds: Sequence[np.ndarray]) -> tuple[list[float], list[float]]:
    """Mean prediction and rate of positives per bin; the prediction is the mean over seeds."""
    probabilities = np.mean([1 / (1 + np.exp(-logits.astype(np.float64))) for logits in seeds], axis=0)
    order = np.argsort(probabilities, kind="stable")
    parts = [part for part in np.array_split(order, CALIBRATION_BINS) if len(part)]
    return [float(probabilities[part].mean()) for part in parts], [float(labels[part].mean()) for part in parts]


def sparsity_finding(comparison: Comparison, domains: pl.DataFrame | None) -> Finding | None:
    """Share of neurons cut, by layer and by domain."""
    pruning = comparison.pruning()
    if not pruning or not all("test" in one for found in pruning.values() for one in found):
        return None
    traces = []
    for k, (arm, found) in enumerate(pruning.items()):
        layers = found[0]["layers"]
        traces.append(
            series(
                k, arm, layers, [float(np.mean([one["test"][layer] for one in found])) for layer in range(len(layers))]
            )
        )
    figures = [
        Figure(
            name="layers",
            title="Share of neurons cut by layer, test rows",
            summary="Mean over seeds of the kept weights, which may be from before the regulariser had its full weight.",
            traces=traces,
            layout={"yaxis": {"title": {"text": "share cut"}, "tickformat": ".0%", "rangemode": "tozero"}},
        )
    ]
    arm = next(iter(pruning))
    heat = None if domains is None else _domain_heat(comparison, domains, arm)
    return Finding(
        name="sparsity",
        title="Sparsity",
        question="How much is cut, in which layer, for which domain?",
        tables=[Table(name="layers", title="By layer", rows=comparison.sparsity())],
        figures=[*figures, *([heat] if heat else [])],
    )


def _domain_heat(comparison: Comparison, domains: pl.DataFrame, arm: str, number: int = 30) -> Figure | None:
    """The largest domains by layer."""
    folders = next(one for one in comparison.arms if one.name == arm).folders.values()
    tables = [_domain_file(folder) for folder in folders]
    columns = [name for name in tables[0].columns if name.startswith("sparsity_")]
    if not columns:
        return None
    shown = domains.filter(pl.col("test_rows") > 0).head(number)
    mean = np.mean(
        [table.select(columns).cast(pl.Float64).to_numpy()[shown["domain"].to_numpy()] for table in tables], axis=0
    )
    names = shown["name"].to_list()
    low, high = (float(np.nanmin(mean)), float(np.nanmax(mean))) if np.isfinite(mean).any() else (0.0, 0.0)
    if high - low < FLAT:  # else plotly would make up a range around them
        low, high = 0.0, 1.0
    trace = {
        "type": "heatmap",
        "x": [name.removeprefix("sparsity_").replace("_", " ") for name in columns],
        "y": list(range(len(names))),
        "z": [[None if np.isnan(share) else round(float(share), 4) for share in row] for row in mean],
        "zmin": low,
        "zmax": high,
        "hovertext": [[hover(name)] * len(columns) for name in names],
        "colorscale": "Cividis",
        "colorbar": {"tickformat": ".0%"},
        "hovertemplate": "%{hovertext}<br>%{x}: %{z:.1%}<extra></extra>",
        "texttemplate": "%{z:.0%}",
        "textfont": {"size": 10},
    }
    return Figure(
        name="by-domain",
        title=f"Share of neurons cut in the {shown.height} largest domains: {arm}",
        summary="The number in each field is the share; domains with most training rows stand at the top.",
        traces=[trace],
        layout={"yaxis": {**places(names), "autorange": "reversed"}, "height": 140 + 22 * shown.height},
    )


def whole_domain_table(comparison: Comparison) -> pl.DataFrame | None:
    """All domains, as `domain_table` gives them; None where there are no test rows, or several worlds with other domains.

    Raises:
        IntegrityError: a run's table of domains is missing or damaged.
    """
    if comparison.worlds or not comparison.data["splits"].get("test", {}).get("rows"):
        return None
    tables = {folder: _domain_file(folder) for arm in comparison.arms for folder in arm.folders.values()}
    number = max((table.height for table in tables.values()), default=0)
    if comparison.rows is not None:
        number = max(number, int(comparison.rows.domains.max(initial=-1)) + 1)
    for folder, table in tables.items():
        if table.height != number:
            raise IntegrityError(
                f"{folder / DOMAINS} has {table.height:,} domains where there are {number:,}", hint=anew(folder)
            )
    return domain_table(comparison)


def _domain_file(folder: Path) -> pl.DataFrame:
    """A run's domains.csv; a domain's line is that of its id."""
    path = run_file(folder, DOMAINS)
    try:
        table = read_domain_rows(path)
        counts = table.select(DOMAIN_COLUMNS).cast(pl.Int64, strict=True)
    except pl.exceptions.PolarsError as error:
        raise IntegrityError(f"{path} is damaged: {_first_line(error)}", hint=anew(folder)) from None
    if table.columns[0] != "domain" or counts["domain"].to_list() != list(range(table.height)):
        raise IntegrityError(f"{path} is damaged: its domains are not 0, 1, 2, …", hint=anew(folder))
    return table


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def domains_finding(comparison: Comparison, domains: pl.DataFrame) -> Finding | None:
    """Every domain, to be sorted and filtered."""
    if comparison.rows is None:
        return None
    base = f"AUC {comparison.baseline}"
    rows = []
    for row in domains.filter(pl.col("test_rows") > 0).iter_rows(named=True):
        own = {
            "domain": row["name"],
            "training rows": row["train_rows"],
            "test rows": row["test_rows"],
            "positives": row["test_positives"],
        }
        for arm in comparison.logits:
            value = row[f"AUC {arm}"]
            own[f"AUC {arm}"] = value
            if f"AUC {arm}" != base and base in row:
                own[f"{arm} − {comparison.baseline}"] = (
                    None if value is None or row[base] is None else value - row[base]
                )
        rows.append(own)
    return Finding(
        name="domains",
        title="Every domain",
        question="Who is served well, and who is not?",
        tables=[
            Table(
                name="domains",
                title=f"{len(rows):,} domains with test rows, {' × '.join(comparison.data['domain'])}",
                rows=rows,
                caption="AUC is the mean over seeds, n/a where a domain has one class. With few positives it says next to nothing.",
                long=True,
            )
        ],
    )


def context_finding(comparison: Comparison) -> Finding | None:
    """What the arms' parts take from the domain; None where no arm says."""
    shares = {
        arm: [found for one in reports if (found := one.get("context_shares"))]
        for arm, reports in comparison.reports.items()
    }
    rows = [row for arm, found in shares.items() if found for row in _share_rows(arm, found)]
    if not rows:
        return None
    low = sorted({row["arm"] for row in rows if row["follows the domain, %"] < 100 * NEGLIGIBLE})
    answer = (
        f"Some parts of {', '.join(low)} hardly see the domain: less than {NEGLIGIBLE:.0%} of their variance follows it."
        if low
        else f"Every part that reads the domain follows it with at least {NEGLIGIBLE:.0%} of its variance."
    )
    return Finding(
        name="context",
        title="What follows the domain",
        question="Do the parts that read the domain context see it?",
        answers=(answer,),
        tables=[
            Table(
                name="shares",
                title="Share of the variance that follows the domain context",
                rows=rows,
                caption="Best checkpoint, valid rows: half the mean squared change of a part's output when the row receives "
                "another row's domain, over the output's variance. 100 % for a part that reads the domain alone.",
            )
        ],
    )


def _share_rows(arm: str, found: Sequence[Mapping[str, float]]) -> list[dict[str, Any]]:
    parts = dict.fromkeys(part for one in found for part in one)
    return [
        {
            "arm": arm,
            "part": part,
            "follows the domain, %": 100 * float(np.mean(own)),
            "over seeds": f"{100 * min(own):.1f} – {100 * max(own):.1f}",
        }
        for part in parts
        if (own := [one[part] for one in found if part in one])
    ]


def settings_finding(comparison: Comparison) -> Finding:
    """What sets the arms apart, and every other setting."""
    own = {arm: flat(found[0]["settings"]) for arm, found in comparison.reports.items() if found}
    keys = list(dict.fromkeys(key for settings in own.values() for key in settings))
    every = [{"setting": key, **{arm: str(settings.get(key, "–")) for arm, settings in own.items()}} for key in keys]
    differing = differing_settings(comparison.reports)
    return Finding(
        name="settings",
        title="Settings",
        question="What differs between the arms?",
        answers=() if differing or len(own) < 2 else ("Nothing but their names: the arms are the same model.",),
        tables=[
            Table(name="differing", title="Settings that differ", rows=differing),
            Table(name="every", title="Every setting", rows=every, long=True),
        ],
    )
