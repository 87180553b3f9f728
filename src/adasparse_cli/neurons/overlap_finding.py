"""The overlap of neurons as sentences, tables and figures."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adasparse_cli.analysis.mantel import Mantel
from adasparse_cli.analysis.overlap import Overlap, clustered, overlap
from adasparse_cli.findings.figures import hover, places
from adasparse_cli.findings.finding import Figure, Finding, Style, Table
from adasparse_cli.neurons.activity import Activity

Floats = NDArray[np.float64]
SHOWN_PAIRS = 5
SIMILARITIES = {
    "key": "shared key fields",
    "features": "closeness of feature distributions",
    "labels": "closeness of label behaviour",
    "labels | key": "closeness of label behaviour, beyond the values of key fields",
    "planted": "planted taste groups",
    "planted | key": "planted taste groups, beyond the values of key fields",
}


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Measurements of the chosen domains.

    Args:
        names: of all domains. chosen: indices in `names` of the included domains.
        neurons: share of rows in which each neuron is active, of all domains.
        similar: chosen × chosen, the similarity of two domains, by measure.
        by_layer, whole: overlap of two of the chosen domains, per layer and for all layers.
    """

    names: Sequence[str]
    chosen: NDArray[np.int64]
    neurons: Activity
    similar: Mapping[str, Floats]
    by_layer: Mapping[str, Overlap]
    whole: Overlap


def overlap_finding(
    measured: Measured,
    tests: Mapping[tuple[str, str], Mantel | None],
    named: Sequence[int],
    *,
    permutations: int,
    taken_in: str,
) -> Finding:
    """The finding on the overlap of neurons.

    Args:
        tests: Mantel's tests, by similarity and measure of overlap. permutations: their shuffles.
        named: indices of domains shown separately; may be empty.
        taken_in: which domains are included, and of which run, as text.
    """
    names, chosen, found, whole = measured.names, measured.chosen, measured.neurons, measured.whole
    similar = measured.similar
    main = "planted" if "planted" in similar else "features" if "features" in similar else "key"
    answers = [_sentence(kind, test) for (kind, measure), test in tests.items() if measure == "closeness"]
    figures = [_heat(names, chosen, whole, found.prunes)]
    tables = [
        Table(
            name="mantel",
            title="Mantel's test: does the overlap of all layers rise with similarity?",
            rows=[
                {
                    "similarity": SIMILARITIES[kind],
                    "overlap": measure,
                    "rank correlation": None if test is None else test.correlation,
                    "p": None if test is None else test.p,
                }
                for (kind, measure), test in tests.items()
            ],
            caption=f"p is one-sided, from {permutations:,} shuffles of the domains; n/a where one side does not vary.",
        ),
        Table(
            name="most-and-least",
            title=f"Most and least similar pairs, by {SIMILARITIES[main]}, with the overlap of all layers",
            rows=_pairs(measured, main),
        ),
        Table(name="layers", title="By layer, over all pairs", rows=_layers(measured, similar[main])),
    ]
    if named:
        tables.insert(0, _named_table(names, found, named))
        if found.prunes:
            figures.insert(0, _named_figure(names, found, named))
    return Finding(
        name="overlap",
        title="Overlap of neurons",
        question="Do similar domains share more neurons?",
        answers=answers,
        tables=tables,
        figures=figures,
        notes=(
            f"{len(chosen)} of {int((found.rows > 0).sum())} domains included: {taken_in}",
            "A neuron is active in a domain if its factor is above 0 in at least half of the domain's rows. Jaccard: shared over "
            "all active (or pruned) neurons of the two. Excess: agreement beyond that of two random sets of the same sizes, "
            "1 for equal sets. Closeness: 1 minus the mean difference of the shares of rows in which a neuron is active.",
            "Domains with many rows may be similar only because they have many rows. The test does not separate this effect.",
            "Neurons follow the key even in an untrained pruner. Label behaviour and planted groups partly follow it, too: "
            "only the tests beyond the values of the key's fields are evidence that the model learned something.",
            *(
                ("On the twin, even this p can be too small: compare with heterogeneity 0.",)
                if "planted" in similar
                else ()
            ),
        ),
    )


def _sentence(kind: str, test: Mantel | None) -> str:
    what = SIMILARITIES[kind]
    if test is None:
        return f"By {what}: not available, because one side does not vary."
    verdict = (
        "share more neurons" if test.p < 0.05 and test.correlation > 0 else "do not share significantly more neurons"
    )
    return f"By {what}, similar domains {verdict}: rank correlation {test.correlation:+.3f}, p {test.p:.3f}."


def _pairs(measured: Measured, main: str) -> list[dict[str, Any]]:
    """The most and the least similar pairs."""
    rows, columns = np.triu_indices(len(measured.chosen), 1)
    similar = measured.similar
    # ties are ordered by similarity of the key, then by rows of the domains
    order = np.lexsort((-(rows + columns), similar["key"][rows, columns], similar[main][rows, columns]))
    ends = [*order[::-1][:SHOWN_PAIRS], *order[:SHOWN_PAIRS][::-1]] if len(order) > 2 * SHOWN_PAIRS else order[::-1]
    return [_pair(measured, int(rows[k]), int(columns[k])) for k in ends]


def _pair(measured: Measured, a: int, b: int) -> dict[str, Any]:
    return {
        "domain": measured.names[measured.chosen[a]],
        "other": measured.names[measured.chosen[b]],
        **{f"similarity, {kind}": float(matrix[a, b]) for kind, matrix in measured.similar.items()},
        **_shared(measured.whole, a, b),
    }


def _shared(own: Overlap, a: int, b: int) -> dict[str, Any]:
    return {
        "Jaccard, active": _number(own.active[a, b]),
        "Jaccard, pruned": _number(own.pruned[a, b]),
        "excess": _number(own.excess[a, b]),
        "closeness": float(own.closeness[a, b]),
    }


def all_pairs(measured: Measured) -> list[dict[str, Any]]:
    """One row per pair of chosen domains."""
    rows = []
    for a, b in itertools.combinations(range(len(measured.chosen)), 2):
        row = _pair(measured, a, b)
        for layer, own in measured.by_layer.items():
            row[f"Jaccard, pruned, {layer}"] = _number(own.pruned[a, b])
            row[f"excess, {layer}"] = _number(own.excess[a, b])
            row[f"closeness, {layer}"] = float(own.closeness[a, b])
        rows.append(row)
    return rows


def all_shares(names: Sequence[str], found: Activity) -> list[dict[str, Any]]:
    """One row per domain: how often each neuron is active."""
    return [
        {
            "domain": names[domain],
            "rows": int(found.rows[domain]),
            **{
                f"{layer} {neuron}": round(float(value), 4)
                for layer, shares in zip(found.layers, found.shares, strict=True)
                for neuron, value in enumerate(shares[domain])
            },
        }
        for domain in np.flatnonzero(found.rows).tolist()
    ]


def _layers(measured: Measured, similarity: Floats) -> list[dict[str, Any]]:
    found = measured.neurons
    pairs = np.triu_indices(len(similarity), 1)
    values = similarity[pairs]
    similar, other = values >= np.quantile(values, 0.9), values <= np.quantile(values, 0.1)
    rows = []
    for (layer, own), shares in zip(measured.by_layer.items(), found.shares, strict=True):
        row: dict[str, Any] = {"layer": layer, "neurons": shares.shape[1]}
        if found.prunes:
            always = (shares[found.rows > 0] >= 0.5).mean(0)
            row["never pruned"] = int((always == 1).sum())
            row["always pruned"] = int((always == 0).sum())
            for name, matrix in (
                ("Jaccard, active", own.active),
                ("Jaccard, pruned", own.pruned),
                ("excess", own.excess),
            ):
                row[name] = _mean(matrix[pairs])
            row["excess, most similar tenth"] = _mean(own.excess[pairs][similar])
            row["excess, least similar tenth"] = _mean(own.excess[pairs][other])
        row["closeness"] = _mean(own.closeness[pairs])
        row["closeness, most similar tenth"] = _mean(own.closeness[pairs][similar])
        row["closeness, least similar tenth"] = _mean(own.closeness[pairs][other])
        rows.append(row)
    return rows


def _heat(names: Sequence[str], chosen: NDArray[np.int64], whole: Overlap, prunes: bool, most: int = 60) -> Figure:
    """The overlap of the largest domains, similar ones next to each other."""
    shown = np.arange(min(len(chosen), most))  # domains are sorted by their training rows
    matrix = whole.closeness[np.ix_(shown, shown)]
    order = shown[clustered(matrix)]
    labels = [names[chosen[k]] for k in order]
    whose = [hover(name) for name in labels]
    trace = {
        "type": "heatmap",
        "x": list(range(len(labels))),
        "y": list(range(len(labels))),
        "hovertext": [[f"{one}<br>{other}" for other in whose] for one in whose],
        "z": np.round(whole.closeness[np.ix_(order, order)], 4).tolist(),
        "colorscale": "Cividis",
        "hovertemplate": "%{hovertext}<br>closeness %{z:.3f}<extra></extra>",
    }
    what = "shares of rows in which neurons are active" if prunes else "mean factors"
    return Figure(
        name="heat",
        title=f"Closeness of {what}, all layers, the {len(shown)} largest domains",
        summary="Similar domains are next to each other (average linkage). Light cells are similar. The diagonal is 1.",
        traces=[trace],
        layout={
            "xaxis": {**places(labels), "showticklabels": len(shown) <= 30},
            "yaxis": {**places(labels), "showticklabels": len(shown) <= 30, "autorange": "reversed"},
            "height": 620,
        },
    )


def _named_table(names: Sequence[str], found: Activity, named: Sequence[int]) -> Table:
    rows = []
    for layer, shares in [*zip(found.layers, found.shares, strict=True), ("all layers", found.all_layers())]:
        own = overlap(shares[list(named)], prunes=found.prunes)
        for a, b in itertools.combinations(range(len(named)), 2):
            rows.append(
                {
                    "layer": layer,
                    "domain": names[named[a]],
                    "other": names[named[b]],
                    **_shared(own, a, b),
                }
            )
    return Table(name="named", title=f"Overlap of {', '.join(names[k] for k in named)}", rows=rows)


def _named_figure(names: Sequence[str], found: Activity, named: Sequence[int]) -> Figure:
    """The paper's figure: neurons pruned in all, some or none of the domains, by layer."""
    traces = []
    for k in range(len(named) + 1):
        style = Style.of(k)
        values = [float(((shares[list(named)] < 0.5).sum(0) == k).mean()) for shares in found.shares]
        name = (
            "pruned in none"
            if k == 0
            else f"pruned in all {len(named)}"
            if k == len(named)
            else f"pruned in {k} of {len(named)}"
        )
        pattern = ("", "/", "x", ".")[k]
        traces.append(
            {
                "type": "bar",
                "name": name,
                "x": list(found.layers),
                "y": values,
                "marker": {"color": style.colour, "pattern": {"shape": pattern}},
                "hovertemplate": "%{x}: %{y:.1%}<extra>" + name + "</extra>",
            }
        )
    return Figure(
        name="named",
        title=f"Neurons pruned together: {', '.join(names[k] for k in named)}",
        summary="Share of each layer's neurons that are pruned in all, some or none of the domains.",
        traces=traces,
        layout={"barmode": "stack", "yaxis": {"tickformat": ".0%", "title": {"text": "share of neurons"}}},
    )


def _mean(values: Floats) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
