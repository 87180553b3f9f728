"""Do domains with few training rows gain as much as those with many? A comparison, bin by bin of exposure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from adasparse_cli.analysis.exposure import Exposure, exposure
from adasparse_cli.errors import DataError
from adasparse_cli.findings.figures import by_exposure, exposure_layout
from adasparse_cli.findings.finding import Figure, Finding, Interval, Table
from adasparse_cli.findings.kept import write_finding
from adasparse_cli.studies.comparison import Comparison, domain_table
from adasparse_cli.studies.subject import Subject


def run_exposure(source: Subject, *, bins: int, logarithmic: bool) -> tuple[Finding, Path]:
    """Bin, compare, and keep the finding beside the study or the last of the runs.

    Raises:
        DataError: there is nothing to be compared.
    """
    finding = exposure_finding(source.comparison, domain_table(source.comparison), bins=bins, logarithmic=logarithmic)
    if finding is None:
        raise DataError(
            "there are no two arms with all their seeds and test rows in one world",
            hint="name runs of two models, or a study: adasparse ablate",
        )
    return finding, write_finding(finding, source.folder)


def exposure_finding(
    comparison: Comparison, domains: pl.DataFrame, *, bins: int = 5, logarithmic: bool = False
) -> Finding | None:
    """Gain by bin of exposure, and by domain; None where there is nothing to be compared.

    Args:
        domains: as `domain_table` gives them. bins, logarithmic: see `analysis.exposure`.
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
    traces = []
    both = domains.filter(pl.col(f"AUC {base}").is_not_null())
    others = [arm for arm in comparison.logits if arm != base]
    chosen = _chosen(comparison, others)
    for k, arm in enumerate(others):
        gap = (both[f"AUC {arm}"] - both[f"AUC {base}"]).to_list()
        marks = by_exposure(k, arm, both["train_rows"].to_list(), gap, both["name"].to_list())
        # one arm at a time can be read; the legend switches on the others
        traces.append({**marks, "visible": True if arm == chosen else "legendonly"})
    figure = Figure(
        name="domains",
        title=f"AUC of each domain less that of {base}, against its training rows",
        summary="Each mark is a domain with both classes in the test split; small domains scatter widely by chance. "
        "The legend switches arms on and off; shown first is the one with the best GAUC on the valid split.",
        traces=traces,
        layout=exposure_layout(f"AUC − AUC of {base}"),
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
        figures=[figure],
        notes=(f"{how}; each is a test set of its own.",),
    )


def _chosen(comparison: Comparison, arms: Sequence[str]) -> str:
    """The arm one would choose: the best by GAUC on the valid split, of those that have one."""
    known = {row["arm"]: row["valid_gauc_domain"] for row in comparison.table() if row["arm"] in arms}
    return max(arms, key=lambda arm: -1.0 if known.get(arm) is None else known[arm])


def exposure_answers(found: Exposure) -> list[str]:
    """By arm, whether the gain in the sparsest bin differs from that in the densest; or why nobody can say."""
    if all(gain is None for one in found.bins for gain in one.gains.values()):
        return ["No answer can be had: no test domain has both classes, so there is no GAUC by domain."]
    if len(found.bins) < 2:
        alone = sum(one.domains for one in found.bins) == 1
        what = "there is one test domain" if alone else "all test domains fall into one bin"
        return [f"No answer can be had: {what}, and it takes two bins to compare."]
    lines = []
    for arm, one in found.contrasts.items():
        if one is None:
            ends = (("sparsest", found.bins[0]), ("densest", found.bins[-1]))
            where = " and of the ".join(f"{name} bin" for name, end in ends if end.gains[arm] is None)
            lines.append(f"{arm}: no domain of the {where} has both classes, so nothing can be said of it.")
            continue
        reach = Interval.of(one.low, one.high)
        if reach.low is None:
            lines.append(
                f"{arm}: gain in the sparsest bin less that in the densest {one.difference:+.4f}; no interval can be had from one "
                "seed, nor from a bin in which one domain alone has both classes."
            )
            continue
        word = "differs" if one.is_real else "does not differ detectably"
        lines.append(
            f"{arm}: the gain in the sparsest bin {word} from the gain in the densest: {one.difference:+.4f} {reach}, "
            f"p {one.p_holm:.3f} (Holm)."
        )
    return lines


def exposure_table(found: Exposure, base: str) -> Table:
    """One row per bin and arm."""
    rows = []
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
    return Table(name="bins", title=f"By bin of training rows; gain over {base}", rows=rows)
