"""How sparse may the network be? AdaSparse at a ladder of intervals, as a study, and where parity with the baseline is lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from adasparse_cli.findings.card import Outcome
from adasparse_cli.findings.figures import gains
from adasparse_cli.findings.finding import Figure, Finding, Interval, Table
from adasparse_cli.findings.kept import write_finding
from adasparse_cli.insights.card import outcome_of
from adasparse_cli.insights.differences import INTERVAL, test_support
from adasparse_cli.studies.study import StudyReport


def keep_sparsity(report: StudyReport) -> tuple[Finding, Path]:
    """The finding of a finished sparsity study, kept beside it."""
    finding = sparsity_finding(report)
    return finding, write_finding(finding, report.folder)


def sparsity_finding(report: StudyReport) -> Finding:
    """One row per interval: what was reached, what it gains over the baseline, and what it saves."""
    comparison = report.comparison
    base = comparison.baseline
    table = {row["arm"]: row for row in comparison.table()}
    rows: list[dict[str, Any]] = []
    for arm, reports in comparison.reports.items():
        found = [one["sparsity"] for one in reports if one.get("sparsity")]
        if arm == base or not found:
            continue
        row = table[arm]
        cut = [[float(one["test"][k]) for one in found] for k in range(len(found[0]["layers"]))]
        saved = [saved_multiply_adds(one["test"], one["widths"]) for one in found]
        backbone = reports[0]["cost"]["backbone_multiply_adds"]
        neurons = [width for width, _ in found[0]["widths"]]
        rows.append(
            {
                "interval": arm,
                "all layers, %": round(100 * float(np.average([np.mean(own) for own in cut], weights=neurons)), 1),
                **{
                    f"{layer}, %": round(100 * float(np.mean(own)), 1)
                    for layer, own in zip(found[0]["layers"], cut, strict=True)
                },
                "GAUC by domain": row["gauc_domain"],
                f"over {base}": row["gauc_domain_difference"],
                INTERVAL: Interval(row["gauc_domain_low"], row["gauc_domain_high"]),
                "verdict": outcome_of(row, "gauc_domain"),
                "AUC": row["auc"],
                "log loss": row["log_loss"],
                "multiply-adds saved": round(float(np.mean(saved))),
                "of the network's, %": round(100 * float(np.mean(saved)) / backbone, 1),
            }
        )
    metrics = dict.fromkeys(("GAUC by domain", "AUC", "log loss"), "")
    support = test_support(comparison, {**metrics, f"over {base}": INTERVAL})
    reached = [key for row in rows[:1] for key in row if key.endswith(", %") or key == "multiply-adds saved"]
    return Finding(
        name="sparsity-intervals",
        title="Sparsity and quality",
        question=report.question,
        answers=parity(rows, base),
        tables=[
            Table(
                name="quality",
                title=f"What each interval is worth, against {base}",
                rows=[{key: value for key, value in row.items() if key not in reached} for row in rows],
                caption=comparison.caption,
                support=support,
            ),
            Table(
                name="reached",
                title="What was reached, and what it saves per row",
                rows=[{key: row[key] for key in ("interval", *reached)} for row in rows],
            ),
        ],
        figures=[_figure(rows, base)] if rows else [],
        notes=(
            "Sparsity of the best checkpoint on test rows: the share of weight factors that are 0. A layer can lie outside "
            "the interval asked for where training is short.",
            "Saved: products of the next layer that read a 0, per row. The pruners' own products are not taken off: they cost "
            "about as much as the network itself, unless they see the domain alone or have a low rank.",
        ),
    )


def saved_multiply_adds(cut: Sequence[float], widths: Sequence[Sequence[int]]) -> float:
    """Σ over gated layers of share cut × neurons × outputs of the layer that reads them."""
    return float(sum(share * width * reader for share, (width, reader) in zip(cut, widths, strict=True)))


def parity(rows: Sequence[Mapping[str, Any]], base: str) -> list[str]:
    """Where the gain over the baseline ends, in words; rows stand from the least to the most sparse interval."""
    judged = [row for row in rows if row["verdict"] is not None]
    if not judged:
        return ["No interval can be compared: one seed, or runs are missing."]
    best = max(judged, key=lambda row: row[f"over {base}"])
    better = [row["interval"] for row in judged if row["verdict"] == Outcome.better]
    worse = [row["interval"] for row in judged if row["verdict"] == Outcome.worse]
    lines = [
        f"Best in the mean: {best['interval']} ({best[f'over {base}']:+.4f} over {base}, {best['95 % interval']})."
    ]
    lines.append(
        f"Better than {base}: {', '.join(better)}." if better else f"No interval is shown to be better than {base}."
    )
    if worse:
        lines.append(f"Worse than {base}: {', '.join(worse)}.")
    if better:
        last = [row["interval"] for row in judged].index(better[-1])
        beyond = [row["interval"] for row in judged[last + 1 :]]
        lines.append(
            f"Parity with {base} from {beyond[0]} on."
            if beyond
            else f"Parity with {base} is not reached in these intervals."
        )
    return lines


def _figure(rows: Sequence[Mapping[str, Any]], base: str) -> Figure:
    return gains(
        "gain",
        title=f"Gain over {base} in GAUC by domain, against the share of pruned neurons",
        summary="Bars are 95 % intervals; above 0 is better.",
        x=[row["all layers, %"] for row in rows],
        y=[row[f"over {base}"] for row in rows],
        intervals=[row[INTERVAL] for row in rows],
        labels=[f"asked for {row['interval']}" for row in rows],
        xaxis={"title": {"text": "pruned neurons in test rows, %"}, "rangemode": "tozero"},
        base=base,
    )
