"""Gain by exposure: the comparison of arms in bins of domains with similar numbers of training rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from adasparse_cli.analysis.exposure import Bin, Exposure, exposure
from adasparse_cli.errors import DataError
from adasparse_cli.findings.figures import label, shown_at_first, with_intervals
from adasparse_cli.findings.finding import ENOUGH_POSITIVES, Figure, Finding, Interval, Support, Table
from adasparse_cli.findings.kept import write_finding
from adasparse_cli.findings.wording import listed
from adasparse_cli.insights.chosen_arms import shown_arms
from adasparse_cli.studies.comparison import Comparison, domain_table
from adasparse_cli.studies.subject import Subject

MOST_APART = 0.12  # largest offset between arms of a bin; bins are 1 apart
ROOM = 1.3  # factor of an axis range over its content


def run_exposure(source: Subject, *, bins: int, logarithmic: bool) -> tuple[Finding, Path]:
    """Compute the finding and store it in the folder of the study, or of the last run.

    Raises:
        DataError: there is nothing to compare.
    """
    finding = exposure_finding(source.comparison, domain_table(source.comparison), bins=bins, logarithmic=logarithmic)
    if finding is None:
        raise DataError(
            "exposure needs two arms with all their seeds and test rows in one world",
            hint="name runs of two models, or a study; adasparse ablate creates one",
        )
    return finding, write_finding(finding, source.folder)


def exposure_finding(
    comparison: Comparison, domains: pl.DataFrame, *, bins: int = 5, logarithmic: bool = False
) -> Finding | None:
    """Gain by bin of training rows; None if there is nothing to compare.

    Args:
        domains: as returned by `domain_table`. bins, logarithmic: see `analysis.exposure`.
    """
    rows, base = comparison.rows, comparison.baseline
    if rows is None or base not in comparison.logits or len(comparison.logits) < 2:
        return None
    found = exposure(
        rows,
        domains["train_rows"].to_numpy(),
        comparison.logits,
        baseline=base,
        number=bins,
        logarithmic=logarithmic,
    )
    how = (
        "Bins have edges at equal ratios of training rows"
        if logarithmic
        else "Bins hold equal numbers of domains, ordered by training rows"
    )
    return Finding(
        name="exposure",
        title="Gain by exposure",
        question="Do domains with few training rows gain as much as those with many?",
        answers=exposure_answers(found),
        tables=[exposure_table(found, base)],
        figures=[_figure(comparison, found)],
        notes=(f"{how}. Each bin is compared on its own test rows.",),
    )


def _figure(comparison: Comparison, found: Exposure) -> Figure:
    """The gain of each arm in each bin. Bins with few positives are grey."""
    base, shown = comparison.baseline, shown_arms(comparison)
    others = [arm for arm in comparison.logits if arm != base]
    apart = min(0.8 / len(others), MOST_APART)
    traces = []
    for k, arm in enumerate(others):
        gains = [one.gains.get(arm) for one in found.bins]
        intervals = [Interval(None, None) if gain is None else Interval.of(gain.low, gain.high) for gain in gains]
        trace = with_intervals(
            comparison.place(arm),
            arm,
            [place + apart * (k - (len(others) - 1) / 2) for place in range(len(found.bins))],
            [None if gain is None else gain.difference for gain in gains],
            [(interval.low, interval.high) for interval in intervals],
            labels=[f"{one.low:,} – {one.high:,} training rows, {one.positives:,} positives" for one in found.bins],
        )
        traces.append(trace | shown_at_first(arm in shown))
    few = [place for place, one in enumerate(found.bins) if one.positives < ENOUGH_POSITIVES]
    grey = [
        {
            "type": "rect", "xref": "x", "yref": "paper", "x0": place - 0.5, "x1": place + 0.5, "y0": 0, "y1": 1,
            "fillcolor": "rgba(128,128,128,0.14)", "line": {"width": 0}, "layer": "below",
        }
        for place in few
    ]  # fmt: skip
    ticks = [f"{one.low:,}<br>– {one.high:,}" if one.high > one.low else f"{one.low:,}" for one in found.bins]
    note_on_grey = (
        f" Grey bins have fewer than {ENOUGH_POSITIVES} positives: their gains are mostly noise." if few else ""
    )
    reach = _reach([one for place, one in enumerate(found.bins) if place not in few]) if few else None
    note_on_grey += " They can be outside the axis." if reach else ""
    several = " The legend shows more arms." if any(arm not in shown for arm in others) else ""
    return Figure(
        name="bins",
        title=f"Gain over {base} in GAUC by domain, by bin of training rows",
        summary=f"Bars are 95 % intervals. Above 0 is better.{note_on_grey}{several}",
        traces=traces,
        layout={
            "xaxis": {
                "title": {"text": "training rows of a domain"},
                "tickmode": "array",
                "tickvals": list(range(len(found.bins))),
                "ticktext": ticks,
                "range": [-0.5, len(found.bins) - 0.5],
                "zeroline": False,
                "showgrid": False,
            },
            "yaxis": {
                "title": {"text": f"gain over {label(base)}"},
                "zeroline": True,
                "nticks": 7,
                **({"range": [-reach, reach]} if reach else {}),
            },
            "shapes": grey,
        },
    )


def _reach(bins: Sequence[Bin]) -> float | None:
    """Half the range of an axis around 0 that shows the gains and intervals of these bins with a margin; None without any."""
    gains = [gain for one in bins for gain in one.gains.values() if gain is not None]
    ends = [abs(end) for gain in gains for end in (gain.difference, gain.low, gain.high) if end == end]
    return ROOM * max(ends) if ends and max(ends) > 0 else None


def exposure_answers(found: Exposure) -> list[str]:
    """Whether the gain in the sparsest bin differs from the gain in the densest, or why this is not known."""
    if all(gain is None for one in found.bins for gain in one.gains.values()):
        return ["Not available: no test domain has both classes, so there is no GAUC by domain."]
    if len(found.bins) < 2:
        alone = sum(one.domains for one in found.bins) == 1
        what = "there is one test domain" if alone else "all test domains fall into one bin"
        return [f"Not available: {what}, and a comparison needs two bins."]
    lines, alike, without, missing = [], [], [], []
    for arm, one in found.contrasts.items():
        if one is None:
            missing.append(arm)
            continue
        reach = Interval.of(one.low, one.high)
        if reach.low is None:
            without.append(f"{arm} ({one.difference:+.4f})")
        elif one.is_real:
            size = "larger" if one.difference > 0 else "smaller"
            lines.append(
                f"{arm}: the gain in the sparsest bin is {size} than the gain in the densest bin, by {one.difference:+.4f} {reach} "
                f"(p {one.p_holm:.3f}, Holm)."
            )
        else:
            alike.append(f"{arm} ({one.difference:+.4f} {reach})")
    if alike:
        lines.append(
            f"No significant difference between the gains in the sparsest and the densest bin: {'; '.join(alike)}."
        )
    if without:
        lines.append(
            f"Gain in the sparsest bin minus gain in the densest bin, without an interval: {'; '.join(without)}. An interval needs "
            "two seeds, and several domains with both classes in each bin."
        )
    if missing:
        ends = (("sparsest", found.bins[0]), ("densest", found.bins[-1]))
        where = listed([f"the {name} bin" for name, end in ends if any(end.gains[arm] is None for arm in missing)])
        lines.append(f"Not available for {listed(missing)}: no domain of {where} has both classes.")
    return lines


def exposure_table(found: Exposure, base: str) -> Table:
    """One row per bin and arm."""
    rows: list[dict[str, Any]] = []
    for one in found.bins:
        for arm, own in one.metrics.items():
            gain = one.gains.get(arm)
            rows.append(
                {
                    "training rows": f"{one.low:,} – {one.high:,}",
                    "arm": arm,
                    "domains": one.domains,
                    "test rows": one.rows,
                    "positives": one.positives,
                    "AUC": own["auc"],
                    "GAUC by domain": own["gauc_domain"],
                    "log loss": own["log_loss"],
                    "gain in GAUC": None if gain is None else gain.difference,
                    "95 % interval": Interval(None, None) if gain is None else Interval.of(gain.low, gain.high),
                }
            )
    return Table(
        name="bins",
        title=f"By bin of training rows, gain over {base}",
        rows=rows,
        caption=f"Rows in grey have fewer than {ENOUGH_POSITIVES} positives.",
        folded=True,
        gains=("gain in GAUC",),
        faint=[k for k, row in enumerate(rows) if row["positives"] < ENOUGH_POSITIVES],
        support=Support(estimates={"AUC": "", "GAUC by domain": "", "log loss": "", "gain in GAUC": "95 % interval"}),
    )
