"""The verdict of a study in words: which arms are better, and what the words mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adasparse_cli.studies.comparison import Comparison


def verdict_lines(comparison: Comparison, table: Sequence[Mapping[str, Any]], metrics: Mapping[str, str]) -> list[str]:
    """Which arms are better and which are worse, by the first metric that has intervals; empty without any.

    Args:
        table: of `Comparison.table`. metrics: their names, the most important one first.
    """
    from adasparse_cli.findings.card import Outcome
    from adasparse_cli.insights.card import outcome_of

    words = {
        Outcome.better: "better than",
        Outcome.worse: "worse than",
        Outcome.equal: "no difference to",
        Outcome.undecided: "undecided against",
        None: "not compared with",
    }
    base = comparison.baseline
    others = [row for row in table if row["arm"] != base]
    metric = next((one for one in metrics if any(row[f"{one}_real"] is not None for row in others)), None)
    if metric is None:
        return []
    found: dict[str, list[str]] = {}
    for row in others:
        found.setdefault(words[outcome_of(row, metric)], []).append(row["arm"])
    name = short_name(metrics[metric])
    return [f"{name}, {word} {base}: {', '.join(found[word])}" for word in words.values() if word in found]


def how_to_read(comparison: Comparison) -> str:
    """What intervals and verdicts mean."""
    from adasparse_cli.analysis.verdict import SMALLEST

    worlds = "worlds, of " if comparison.worlds else ""
    return (
        f"Intervals cover the chance of {worlds}seeds and of test rows. Better and worse: 0 is excluded after Holm's correction "
        f"over all arms (p < 0.05). No difference: the corrected interval is inside ±{SMALLEST}. Detectable: the smallest true "
        "difference that such a study finds with a probability of 80 %."
    )


def short_name(metric: str) -> str:
    """A metric's name without what is in brackets."""
    return metric.partition(" (")[0]
