"""The verdict card of a page: better, worse or undecided, and what the data could have shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adasparse_cli.analysis.detectability import rows_and_seeds_for, rows_for, seeds_for
from adasparse_cli.analysis.statistics import Difference
from adasparse_cli.analysis.verdict import SMALLEST, Verdict, alike
from adasparse_cli.findings.card import ArmOutcome, Card, Measure, Outcome
from adasparse_cli.findings.finding import Interval, Style, few_caption
from adasparse_cli.findings.wording import counted, listed, two_digits
from adasparse_cli.insights.metrics_table import spelled
from adasparse_cli.studies.comparison import Comparison
from adasparse_cli.studies.subject import Subject

SHOWN_METRICS = {
    "gauc_domain": "GAUC by domain",
    "auc": "AUC",
    "log_loss": "log loss",
}
LOWER_IS_BETTER = ("log_loss",)
MEASURES = {**SHOWN_METRICS, "calibration": "predicted / actual"}
MOST_NAMED = 3  # arms named in a headline


def card_of(source: Subject) -> Card:
    """The verdicts of a comparison, or the main metrics of a single arm."""
    comparison = source.comparison
    if len(comparison.arms) == 1:
        return _single(comparison)
    base = comparison.baseline
    judged = {metric: outcomes(comparison, metric) for metric in SHOWN_METRICS}
    metric = next((name for name, arms in judged.items() if arms), None)
    failed = [f"Failed runs: {listed(list(source.failed))}."] if source.failed else []
    if metric is None:
        return Card(
            headline="No verdict: an arm lacks its runs, or there are no test rows.",
            remarks=failed,
        )
    arms = judged[metric]
    remarks = [_visible(comparison, metric, [one for one in arms if one.outcome is Outcome.undecided])]
    remarks += [
        f"By {SHOWN_METRICS[other]}: {headline(own, base, why_no_interval='')}"
        for other, own in judged.items()
        if _decided(own) and _decided(own) != _decided(arms)
    ]
    if metric != "gauc_domain":
        remarks.append("GAUC by domain is not available: no domain has test rows of both classes.")
    lower = " (lower is better)" if metric in LOWER_IS_BETTER else ""
    return Card(
        headline=headline(arms, base, why_no_interval=comparison.why_no_interval(metric)),
        remarks=[*filter(None, remarks), *failed],
        metric=f"Difference to {base} in {SHOWN_METRICS[metric]}{lower}{_correction(len(arms))}",
        arms=arms,
    )


def outcomes(comparison: Comparison, metric: str) -> list[ArmOutcome]:
    """Every arm with a difference from the baseline in a metric, the best difference first."""
    found = []
    sign = 1.0 if metric in LOWER_IS_BETTER else -1.0
    for row in comparison.table():
        difference = row[f"{metric}_difference"]
        if difference is not None:
            arm = row["arm"]
            judged = outcome(comparison.differences[metric][arm], lower_is_better=metric in LOWER_IS_BETTER)
            found.append(
                ArmOutcome(
                    arm=arm,
                    style=Style.of(comparison.place(arm)),
                    outcome=judged,
                    difference=difference,
                    interval=Interval(row[f"{metric}_low"], row[f"{metric}_high"]),
                    detectable=row[f"{metric}_detectable"] or None,
                    larger=_larger(comparison, metric, arm, row[f"{metric}_detectable"]),
                )
            )
    return sorted(found, key=lambda one: sign * (one.difference or 0.0))


def outcome(found: Difference, *, lower_is_better: bool = False) -> Outcome:
    """The verdict on a difference, corrected for the number of arms.

    `equal` requires an interval inside ±0.001. Without an interval there is no verdict.
    """
    if found.p_holm != found.p_holm:  # true only for NaN
        return Outcome.unknown
    if found.is_real:
        return Outcome.better if (found.difference > 0) is not lower_is_better else Outcome.worse
    return Outcome.equal if alike(found) is Verdict.holds else Outcome.undecided


def outcome_of(row: Mapping[str, Any], metric: str) -> Outcome | None:
    """The same of a row of `Comparison.table`; None without an interval."""
    real, low, high = (row[f"{metric}_{name}"] for name in ("real", "joint_low", "joint_high"))
    if real is None:
        return None
    if real:
        return Outcome.better if (row[f"{metric}_difference"] > 0) is not (metric in LOWER_IS_BETTER) else Outcome.worse
    held = low is not None and high is not None and -SMALLEST < low <= high < SMALLEST
    return Outcome.equal if held else Outcome.undecided


def best_arm(comparison: Comparison, metric: str) -> str | None:
    """The arm that is better than every other one in a metric; None where the intervals leave that open.

    Its interval, corrected for the number of arms, and those of the others do not overlap; the baseline's is 0.
    """
    sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
    ends: dict[str, tuple[float, float]] = {comparison.baseline: (0.0, 0.0)}
    for row in comparison.table():
        low, high = row[f"{metric}_joint_low"], row[f"{metric}_joint_high"]
        if low is not None and high is not None:
            first, last = sorted((sign * low, sign * high))
            ends[row["arm"]] = (first, last)
        elif row["arm"] != comparison.baseline:
            return None
    best = max(ends, key=lambda arm: ends[arm][0])
    others = [last for arm, (_, last) in ends.items() if arm != best]
    return best if others and ends[best][0] > max(others) else None


def headline(arms: Sequence[ArmOutcome], base: str, *, why_no_interval: str) -> str:
    """One sentence: which arms are better and which are worse, or why there is no verdict."""
    by = {word: [one for one in arms if one.outcome is word] for word in Outcome}
    if len(by[Outcome.unknown]) == len(arms):
        return f"No verdict: {why_no_interval}."
    parts = [
        _named(sorted(by[word], key=lambda one: -abs(one.difference or 0.0)), len(arms), f"{word.value} than {base}")
        for word in (Outcome.better, Outcome.worse)
        if by[word]
    ]
    if parts:
        return f"{'; '.join(parts)}."
    if len(by[Outcome.equal]) == len(arms):
        return f"No arm differs from {base} by more than {SMALLEST}."
    if len(arms) == 1:
        return f"Undecided: {arms[0].arm} does not differ significantly from {base}."
    return f"Undecided: none of the {len(arms)} arms differs significantly from {base}."


def _named(arms: Sequence[ArmOutcome], number: int, what: str) -> str:
    if len(arms) > MOST_NAMED:
        first = arms[0]
        return f"{len(arms)} of {number} arms are {what}, {first.arm} by the most ({first.difference:+.4f})"
    verb = "is" if len(arms) == 1 else "are"
    return f"{listed([f'{one.arm} ({one.difference:+.4f})' for one in arms])} {verb} {what}"


def _correction(number: int) -> str:
    """A sentence about the correction, which the verdicts include and the intervals do not."""
    return f". Verdicts are corrected for {number} arms (Holm), the 95 % intervals are not." if number > 1 else ""


def _decided(arms: Sequence[ArmOutcome]) -> dict[str, Outcome]:
    """The arms that are better or worse."""
    return {one.arm: one.outcome for one in arms if one.outcome in (Outcome.better, Outcome.worse)}


def _visible(comparison: Comparison, metric: str, arms: Sequence[ArmOutcome]) -> str:
    """The detectable differences of the undecided arms, in one or two sentences; empty if there are none."""
    known = {one.arm: one.detectable for one in arms if one.detectable is not None}
    if not known:
        return ""
    if not any(one.can_show for one in arms):
        worlds = f": {counted(len(comparison.worlds), 'world')} are too few" if comparison.worlds else ""
        return f"These data cannot show a difference of realistic size{worlds}."
    least, most = two_digits(min(known.values())), two_digits(max(known.values()))
    between = least if least == most else f"{least} to {most}, depending on the arm,"
    start = f"Differences below {between} cannot be seen reliably with these data"
    gaps, number = comparison.gaps.get(metric, {}), _together(comparison, metric)
    if not known.keys() <= gaps.keys():
        return f"{start}. More worlds would show smaller differences."
    half = two_digits(max(known.values()) / 2) if least == most else "half of that"
    times = [rows_for(gaps[arm], found / 2, comparisons=number) for arm, found in known.items()]
    enough = [_times(one) for one in times if one is not None]
    if not enough:
        return f"{start}. More test rows alone would not show {half}, because results vary too much between seeds."
    low, high = min(enough, key=float), max(enough, key=float)
    factor = low if low == high else f"{low} to {high}"
    some = "" if None not in times else ", for some arms only with more seeds"
    return f"{start}. Rough figure: about {factor} times the test rows would show {half}{some}."


def _larger(comparison: Comparison, metric: str, arm: str, detectable: float | None) -> str:
    """What more rows, more seeds, or both would show for one arm: half of the currently detectable difference."""
    gap = comparison.gaps.get(metric, {}).get(arm)
    if not detectable or gap is None:
        return ""
    half, number = detectable / 2, _together(comparison, metric)
    start = f"{two_digits(half)} with"
    times = rows_for(gap, half, comparisons=number)
    if times is not None:
        return f"{start} about {_times(times)}× the test rows"
    seeds = seeds_for(gap, half, comparisons=number)
    if seeds is not None:
        return f"{start} about {seeds} seeds"
    both = rows_and_seeds_for(gap, half, comparisons=number)
    return "" if both is None else f"{start} about {_times(both[0])}× the test rows and {both[1]} seeds"


def _together(comparison: Comparison, metric: str) -> int:
    """The number of differences that are judged together."""
    return max((found.comparisons for found in comparison.differences[metric].values()), default=1)


def _times(value: float) -> str:
    """A factor rounded for reading: `1.6`, `4`, `120`."""
    return f"{value:.1f}" if value < 2.95 else f"{value:.0f}" if value < 10 else two_digits(value)


def _single(comparison: Comparison) -> Card:
    """The main metrics of one arm on the test rows, or on the valid rows if there are none."""
    arm = comparison.baseline
    found = [report["metrics"] for report in comparison.reports[arm]]
    split = "test" if all("test" in metrics for metrics in found) else "valid"
    by_split = {name: [metrics.get(name, {}) for metrics in found] for name in (split, "valid")}
    measures = []
    for metric, name in MEASURES.items():
        value = spelled(by_split[split], metric)
        valid = spelled(by_split["valid"], metric) if split != "valid" else None
        if value is not None:
            mean, _, spread = value.partition(" ± ")
            notes = (f"± {spread}" if spread else "", f"valid {valid.partition(' ± ')[0]}" if valid else "")
            measures.append(Measure(name=name, value=mean, note=", ".join(filter(None, notes))))
    rows, positives = (by_split[split][0].get(name) for name in ("rows", "positives"))
    size = "" if rows is None else f": {rows:,} rows, {positives:,} positives"
    seeds = f"Mean ± standard deviation over {len(found)} seeds." if len(found) > 1 else ""
    few = few_caption({split: by_split[split][0]}) if rows is not None else ""
    return Card(headline=f"{arm} on the {split} rows{size}.", remarks=[*filter(None, (seeds, few))], measures=measures)
