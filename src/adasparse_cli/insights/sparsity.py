"""How sparse may the network be? A study of AdaSparse with several intervals, compared with the baseline."""

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
from adasparse_cli.insights.cost import HOW_MEASURED, TRAINING, cost_figure, rates_shown
from adasparse_cli.insights.differences import INTERVAL, test_support
from adasparse_cli.studies.study import StudyReport


def keep_sparsity(report: StudyReport) -> tuple[Finding, Path]:
    """The finding of a finished sparsity study, stored in its folder."""
    finding = sparsity_finding(report)
    return finding, write_finding(finding, report.folder)


def sparsity_finding(report: StudyReport) -> Finding:
    """One row per interval: the sparsity reached, the gain over the baseline, and the saved multiply-adds."""
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
                **rates_shown(row, list(table.values())),
                "multiply-adds saved": round(float(np.mean(saved))),
                "of the network's, %": round(100 * float(np.mean(saved)) / backbone, 1),
            }
        )
    metrics = dict.fromkeys(("GAUC by domain", "AUC", "log loss"), "")
    support = test_support(comparison, {**metrics, f"over {base}": INTERVAL})
    priced = cost_figure(comparison, list(table.values()))
    reached = [key for row in rows[:1] for key in row if key.endswith(", %") or key == "multiply-adds saved"]
    return Finding(
        name="sparsity-intervals",
        title="Sparsity and quality",
        question=report.question,
        answers=parity(rows, base),
        tables=[
            Table(
                name="quality",
                title=f"Each interval against {base}",
                rows=[{key: value for key, value in row.items() if key not in reached} for row in rows],
                caption=comparison.caption,
                support=support,
            ),
            Table(
                name="reached",
                title="Sparsity reached and multiply-adds saved per row",
                rows=[{key: row[key] for key in ("interval", *reached)} for row in rows],
            ),
        ],
        figures=[figure for figure in (_figure(rows, base) if rows else None, priced) if figure is not None],
        notes=(
            "Sparsity is the share of weight factors that are 0, for the best checkpoint on test rows. After a short training, a layer "
            "can be outside the requested interval.",
            "Saved: multiply-adds of the next layer with a pruned input, per row. The cost of the pruners is not subtracted: it is "
            "about the cost of the network, unless the pruners read only the domain or have a low rank.",
            *((HOW_MEASURED, TRAINING) if priced else ()),
        ),
    )


def saved_multiply_adds(cut: Sequence[float], widths: Sequence[Sequence[int]]) -> float:
    """Σ over gated layers of share pruned × neurons × outputs of the next layer."""
    return float(sum(share * width * reader for share, (width, reader) in zip(cut, widths, strict=True)))


def parity(rows: Sequence[Mapping[str, Any]], base: str) -> list[str]:
    """The intervals in which AdaSparse is better or worse than the baseline, as sentences; rows are sorted by sparsity."""
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
        f"Better than {base}: {', '.join(better)}." if better else f"No interval is significantly better than {base}."
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
        title=f"Gain over {base} in GAUC by domain, against the share of neurons pruned",
        summary="Bars are 95 % intervals; above 0 is better.",
        x=[row["all layers, %"] for row in rows],
        y=[row[f"over {base}"] for row in rows],
        intervals=[row[INTERVAL] for row in rows],
        labels=[f"asked for {row['interval']}" for row in rows],
        xaxis={"title": {"text": "neurons pruned in test rows, %"}, "rangemode": "tozero"},
        base=base,
    )
