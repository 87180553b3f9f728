"""The verdict of a study in sentences, and how to read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adasparse_cli.studies.comparison import Comparison


def verdict_lines(comparison: Comparison, table: Sequence[Mapping[str, Any]], metrics: Mapping[str, str]) -> list[str]:
    """Which arms are better and which are worse, by the first metric that has intervals; empty if none has.

    Args:
        table: the rows of `Comparison.table`.
        metrics: names of the metrics, the most important one first.
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
    arms: dict[str, list[str]] = {}
    for row in others:
        arms.setdefault(words[outcome_of(row, metric)], []).append(row["arm"])
    name = short_name(metrics[metric])
    return [f"{name}, {outcome} {base}: {', '.join(arms[outcome])}" for outcome in words.values() if outcome in arms]


def how_to_read(comparison: Comparison) -> str:
    """The caption that explains intervals and verdicts."""
    from adasparse_cli.analysis.verdict import SMALLEST

    sources = "worlds, seeds and test rows" if comparison.worlds else "seeds and test rows"
    return (
        f"Intervals cover the variation over {sources}. Better and worse: 0 is excluded after Holm's correction "
        f"over all arms (p < 0.05). No difference: the corrected interval is inside ±{SMALLEST}. Detectable: the smallest true "
        "difference that such a study detects with a probability of 80 %."
    )


def short_name(metric: str) -> str:
    """A metric's name without the part in brackets."""
    return metric.partition(" (")[0]
