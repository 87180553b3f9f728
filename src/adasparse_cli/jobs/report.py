"""Finished runs, or a study of them, as findings and as one page that can be handed to others."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from adasparse_cli.config import flat
from adasparse_cli.errors import IntegrityError, ResourceError, UsageError
from adasparse_cli.files import read_json, write_text
from adasparse_cli.findings import Figure, Finding, Interval, Style, Table
from adasparse_cli.jobs.comparison import Comparison, differing_settings, domain_table
from adasparse_cli.jobs.exposure import exposure_finding
from adasparse_cli.jobs.figures import hover, label, places, series
from adasparse_cli.jobs.keep import FINDING, FINDINGS
from adasparse_cli.jobs.reproduction import reproduction
from adasparse_cli.jobs.run_folder import anew
from adasparse_cli.jobs.source import Source
from adasparse_cli.jobs.wording import mean_or_none
from adasparse_cli.page.write import Page, page_text

PAGE = "report.html"
CALIBRATION_BINS = 20
DOMAINS, DOMAIN_COLUMNS = "domains.csv", ("domain", "train_rows", "test_rows", "test_positives")
FLAT = 0.001  # shares that differ by less are shown as equal
SHOWN_METRICS = {
    "gauc_domain": "GAUC by domain",
    "auc": "AUC",
    "log_loss": "log loss",
}


def write_report(source: Source, output: Path | None = None) -> Path:
    """Write the page; beside its source unless `output` says otherwise."""
    comparison = source.comparison
    data = comparison.data
    splits = {name: counts for name, counts in data["splits"].items() if counts["rows"]}
    facts = {
        "data": data["name"],
        "fingerprint": data["fingerprint"][:12],
        "label": str(data.get("label", "n/a")),
        "domain": " × ".join(data["domain"]),
        "domains in training": f"{data['num_domains']:,}",
        **{f"{name} rows": f"{counts['rows']:,}" for name, counts in splits.items()},
        "seeds": ", ".join(map(str, comparison.seeds)),
    }
    lead = source.question if len(comparison.arms) > 1 else "One arm: nothing is compared."
    # an analysis that was asked for by itself takes the place of the page's own
    findings = {finding.name: finding for finding in (*findings_of(source), *stored_findings(source))}
    page = Page(title=source.title, lead=lead, facts=facts, findings=list(findings.values()))
    return _put(page, output or source.folder / PAGE)


def write_findings(findings: Sequence[Finding], *, title: str, lead: str, facts: Mapping[str, str], path: Path) -> Path:
    """A page of findings that are no single comparison's."""
    return _put(Page(title=title, lead=lead, facts=facts, findings=findings), path)


def write_kept(folder: Path, output: Path | None = None) -> Path:
    """A page of what is kept below a folder that is neither a run nor a study: a ladder, a search."""
    findings = [_read(path) for path in sorted((folder / FINDINGS).glob(f"*/{FINDING}"))]
    if not findings:
        raise IntegrityError(f"{folder / FINDINGS} holds no findings", hint="run the analysis once more")
    path = output or folder / PAGE
    return write_findings(
        findings, title=findings[0].title, lead=findings[0].question, facts={"folder": folder.name}, path=path
    )


def _put(page: Page, path: Path) -> Path:
    """Write the page.

    Raises:
        UsageError: the place is a folder, or lies below a file. ResourceError: it may not be written to.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder, and the page is a file", hint=f"give it a name: -o {path / PAGE}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, page_text(page))
    except (FileExistsError, NotADirectoryError):
        raise UsageError(f"{path.parent} is no folder", hint="name a file in a folder: -o FILE") from None
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        raise ResourceError(
            f"{path.parent} may not be written to", hint="-o FILE writes the page to another place"
        ) from None
    return path


def stored_findings(source: Source) -> list[Finding]:
    """What analyses left beside the source and its runs.

    Raises:
        IntegrityError: a file is damaged.
    """
    folders = [source.folder, *(run for arm in source.comparison.arms for run in arm.folders.values())]
    found: list[Finding] = []
    for path in dict.fromkeys(path for folder in folders for path in sorted((folder / FINDINGS).glob(f"*/{FINDING}"))):
        finding = _read(path)
        if finding.name not in [one.name for one in found]:
            found.append(finding)
    return found


def _read(path: Path) -> Finding:
    try:
        return Finding.from_json(read_json(path))
    except (AttributeError, KeyError, TypeError) as error:
        raise IntegrityError(f"{path} is damaged: {error!r}", hint="run the analysis once more") from None


def findings_of(source: Source) -> list[Finding]:
    """Everything the page says of the comparison itself."""
    comparison = source.comparison
    domains = _whole_domain_table(comparison)
    parts = [
        verdict(source),
        _curves(comparison),
        None if domains is None else exposure_finding(comparison, domains),
        _calibration(comparison),
        _sparsity(comparison, domains),
        None if domains is None else _domains(comparison, domains),
        _settings(comparison),
        reproduction(source),
    ]
    return [part for part in parts if part is not None]


def verdict(source: Source) -> Finding:
    """The table, and which of its differences are real."""
    comparison = source.comparison
    table = comparison.table()
    base = comparison.baseline
    quality = [
        {
            "arm": row["arm"],
            "seeds": row["seeds"],
            **{name: spread(row, metric) for metric, name in SHOWN_METRICS.items()},
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
        drawn = [row for row in judged if row["gauc_domain_difference"] is not None]
        figures = [_forest(drawn, base)] if drawn else []
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
            "`real`: the corrected p is below 0.05. `detectable`: the smallest true difference that such a study would "
            "have found with a chance of 80 %.",
            "GAUC by domain is the mean of the domains' AUC weighted by their test rows; domains of one class are left out, "
            "the same for every arm.",
        ),
    )


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


def spread(row: Mapping[str, Any], metric: str) -> str | None:
    """Mean ± standard deviation, in words."""
    if row[metric] is None:
        return None
    sd = row[f"{metric}_sd"]
    return f"{row[metric]:.4f}" + ("" if sd is None else f" ± {sd:.4f}")


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


def _forest(rows: Sequence[Mapping[str, Any]], base: str) -> Figure:
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


def _curves(comparison: Comparison) -> Finding | None:
    """What was logged on the way: mean over seeds, each arm a line."""
    losses: list[dict[str, Any]] = []
    aucs: list[dict[str, Any]] = []
    for k, arm in enumerate(comparison.arms):
        runs = [list(_lines(folder / "metrics.jsonl")) for folder in arm.folders.values()]
        for kind, name, traces in (("train", "loss", losses), ("valid", "auc", aucs)):
            steps, values = _mean_over_seeds(runs, kind, name)
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


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """What was logged; a last line that a power cut tore is no line.

    Raises:
        IntegrityError: another line is damaged.
    """
    lines = path.read_bytes().rstrip(b"\n").split(b"\n") if path.exists() else []
    for number, line in enumerate(lines, start=1):
        try:
            found = json.loads(line)
            known = {"kind", "step"} <= found.keys()
        except (ValueError, AttributeError):
            known = False
        if known:
            yield found
        elif number < len(lines):
            raise IntegrityError(f"{path}:{number} is damaged", hint=anew(path.parent))


def _mean_over_seeds(
    runs: Sequence[Sequence[Mapping[str, Any]]], kind: str, name: str
) -> tuple[list[int], list[float]]:
    """Steps that every run logged, and the mean there."""
    found = [{line["step"]: line.get(name) for line in run if line["kind"] == kind} for run in runs]
    if not found:
        return [], []
    steps = [step for step in found[0] if all(own.get(step) is not None for own in found)]
    return steps, [float(np.mean([own[step] for own in found])) for step in steps]


def _calibration(comparison: Comparison) -> Finding | None:
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


def _sparsity(comparison: Comparison, domains: pl.DataFrame | None) -> Finding | None:
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


def _whole_domain_table(comparison: Comparison) -> pl.DataFrame | None:
    """All domains, as `domain_table` gives them; None where there are no test rows.

    Raises:
        IntegrityError: a run's table of domains is missing or damaged.
    """
    if not comparison.data["splits"].get("test", {}).get("rows"):
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
    path = folder / DOMAINS
    try:
        table = pl.read_csv(path, infer_schema_length=None)
        counts = table.select(DOMAIN_COLUMNS).cast(pl.Int64, strict=True)
    except FileNotFoundError:
        raise IntegrityError(f"{path} is missing", hint=anew(folder)) from None
    except pl.exceptions.PolarsError as error:
        raise IntegrityError(f"{path} is damaged: {_first_line(error)}", hint=anew(folder)) from None
    if table.columns[0] != "domain" or counts["domain"].to_list() != list(range(table.height)):
        raise IntegrityError(f"{path} is damaged: its domains are not 0, 1, 2, …", hint=anew(folder))
    return table


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _domains(comparison: Comparison, domains: pl.DataFrame) -> Finding | None:
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


def _settings(comparison: Comparison) -> Finding:
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
