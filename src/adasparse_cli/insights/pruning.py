"""Share of neurons that the arms prune, by layer and by domain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from adasparse_cli.findings.figures import series
from adasparse_cli.findings.finding import Figure, Finding, Table
from adasparse_cli.findings.wording import listed
from adasparse_cli.insights.domains import domain_file
from adasparse_cli.studies.comparison import Comparison

MOST_ROWS = 6  # of the table by layer that is not folded
LARGEST = 30  # domains in the table by domain


def sparsity_finding(comparison: Comparison, domains: pl.DataFrame | None) -> Finding | None:
    """Share of neurons pruned; None if no arm can prune."""
    pruning = comparison.pruning()
    if not pruning or not all("test" in one for found in pruning.values() for one in found):
        return None
    shares = {arm: np.mean([one["test"] for one in found], axis=0) for arm, found in pruning.items()}
    pruned = [arm for arm, own in shares.items() if own.any()]
    answers = []
    if len(pruned) < len(shares):
        answers.append(f"No neuron is pruned in {listed([arm for arm in shares if arm not in pruned])}.")
    outside = [arm for arm in pruned if _is_outside(shares[arm], pruning[arm][0]["interval"])]
    if outside:
        answers.append(f"At least one layer is outside the requested interval in {listed(outside)}.")
    tables = [
        Table(
            name="layers",
            title="By layer, in %",
            rows=comparison.sparsity(),
            folded=len(comparison.sparsity()) > MOST_ROWS,
        )
    ]
    for arm in pruned if domains is not None else []:
        found = None if domains is None else _by_domain(comparison, domains, arm)
        if found is not None:
            tables.append(found)
    return Finding(
        name="sparsity",
        title="Sparsity",
        question="How many neurons are pruned, in which layer, for which domain?",
        answers=answers,
        tables=tables,
        figures=[_by_layer(comparison, pruning, shares, pruned)] if pruned else [],
        notes=(
            "Shares are means over seeds, for the best checkpoint. The best checkpoint can be from an early step, before the "
            "regulariser reached its full strength.",
        ),
    )


def _is_outside(shares: Sequence[float], interval: Sequence[float] | None) -> bool:
    return interval is not None and not all(interval[0] <= share <= interval[1] for share in shares)


def _by_layer(
    comparison: Comparison,
    pruning: Mapping[str, Sequence[Mapping[str, Any]]],
    shares: Mapping[str, Sequence[float]],
    arms: Sequence[str],
) -> Figure:
    """One line per arm that prunes, and the requested intervals as bands."""
    traces = [
        series(comparison.place(arm), arm, pruning[arm][0]["layers"], [float(share) for share in shares[arm]])
        for arm in arms
    ]
    requested = dict.fromkeys(
        tuple(found[0]["interval"]) for arm, found in pruning.items() if arm in arms and found[0]["interval"]
    )
    bands = [
        {
            "type": "rect", "xref": "paper", "yref": "y", "x0": 0, "x1": 1, "y0": low, "y1": high, "layer": "below",
            "fillcolor": "rgba(128,128,128,0.2)", "line": {"width": 0},
        }
        for low, high in requested
    ]  # fmt: skip
    names = [
        {
            "xref": "paper", "x": 0.01, "xanchor": "left", "yref": "y", "y": high, "yanchor": "top", "showarrow": False,
            "text": f"requested: {low:.0%} to {high:.0%}",
        }
        for low, high in requested
    ]  # fmt: skip
    return Figure(
        name="layers",
        title="Share of neurons pruned by layer, test rows",
        summary="Mean over seeds of the best checkpoint."
        + (" The grey band is the requested interval." if bands else ""),
        traces=traces,
        layout={
            "yaxis": {"title": {"text": "share pruned"}, "tickformat": ".0%", "rangemode": "tozero"},
            "shapes": bands,
            "annotations": names,
        },
    )


def _by_domain(comparison: Comparison, domains: pl.DataFrame, arm: str) -> Table | None:
    """The largest domains by layer, mean over seeds; None if no layer is recorded by domain."""
    folders = next(one for one in comparison.arms if one.name == arm).folders.values()
    tables = [domain_file(folder) for folder in folders]
    columns = [name for name in tables[0].columns if name.startswith("sparsity_")]
    if not columns:
        return None
    shown = domains.filter(pl.col("test_rows") > 0).head(LARGEST)
    own = shown["domain"].to_numpy()
    mean = np.mean([table.select(columns).cast(pl.Float64).to_numpy()[own] for table in tables], axis=0)
    layers = [f"{name.removeprefix('sparsity_').replace('_', ' ')}, %" for name in columns]
    rows = [
        {
            "domain": name,
            "training rows": count,
            **{
                layer: None if np.isnan(share) else 100 * float(share)
                for layer, share in zip(layers, line, strict=True)
            },
        }
        for name, count, line in zip(shown["name"], shown["train_rows"], mean, strict=True)
    ]
    return Table(
        name=f"by-domain-{comparison.place(arm)}",
        title=f"Share of neurons pruned in the {shown.height} largest domains, {arm}",
        rows=rows,
        caption="The domains with the most training rows come first. Stronger colour: more neurons pruned.",
        choice=arm,
        shares=layers,
        folded=True,
    )
