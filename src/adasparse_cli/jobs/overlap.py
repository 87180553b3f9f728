"""Do similar domains share neurons? A saved AdaSparse run, looked at domain by domain."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from adasparse_cli.analysis.overlap import Overlap, clustered, overlap
from adasparse_cli.analysis.similarity import (
    Mantel,
    feature_similarity,
    key_pairs,
    key_similarity,
    label_similarity,
    mantel,
    planted_similarity,
)
from adasparse_cli.choices import FieldKind, FieldRole, Split
from adasparse_cli.errors import DataError, UsageError
from adasparse_cli.findings import Figure, Finding, Style, Table
from adasparse_cli.jobs.figures import hover, places
from adasparse_cli.jobs.keep import keep
from adasparse_cli.jobs.score import SavedRun
from adasparse_cli.jobs.train import trained_model
from adasparse_cli.models.adasparse import AdaSparse
from adasparse_cli.prep.encode import key_columns
from adasparse_cli.prep.prepared import domain_names, read_domains, verify
from adasparse_cli.prep.recipe import Progress, Silent, nearest_names
from adasparse_cli.training.activity import Activity, activity
from adasparse_cli.training.dataset import Rows, load_rows, load_shape
from adasparse_cli.training.machine import chosen_device, set_threads

Floats = NDArray[np.float64]
SHOWN_PAIRS = 5
SIMILARITIES = {
    "key": "shared key fields",
    "features": "closeness of feature distributions",
    "labels": "closeness of label behaviour",
    "planted": "planted taste groups",
    "planted | key": "planted taste groups, beyond the values of key fields",
}


@dataclass(frozen=True, kw_only=True)
class OverlapJob:
    """What to look at.

    Args:
        split: whose rows are run through the model. minimum_rows: of it, for a domain to be taken in.
        named: two or three domains to be shown by themselves, by key (`0/1003/3006`); may be empty.
        permutations: shuffles of Mantel's test.
    """

    run: SavedRun
    split: Split
    minimum_rows: int
    named: tuple[str, ...]
    permutations: int


def run_overlap(job: OverlapJob, progress: Progress | None = None) -> tuple[Finding, Path]:
    """Look, test, and keep the finding beside the run.

    Raises:
        UsageError: the run's model has no weight factors, or a name is of no domain.
        DataError: fewer than three domains have rows enough.
    """
    progress = progress or Silent()
    saved = job.run
    if saved.job.model.name != "adasparse":
        raise UsageError(
            f"{saved.folder} is of {saved.job.label}, which has no weight factors",
            hint="name a run of adasparse; adasparse runs ls lists them",
        )
    verify(saved.data_folder, saved.manifest)
    set_threads(saved.job.threads)
    device = chosen_device(saved.job.device)
    model = trained_model(saved.job, saved.folder, load_shape(saved.data_folder, saved.manifest))
    assert isinstance(model, AdaSparse)
    rows = load_rows(saved.data_folder, saved.manifest, job.split, device=device)
    told = rows.with_another_rows_domain(saved.job.seed) if saved.job.loop.placebo else rows
    progress.start("looking at neurons", len(rows), "rows")
    number = saved.manifest.num_all_domains
    found = activity(model, told, num_domains=number, batch_size=saved.job.loop.evaluation_batch_size)
    progress.advance(len(rows))
    domains = read_domains(saved.data_folder)
    names = domain_names(domains, saved.manifest.domain).to_list()
    # a domain new to this split has no training rows to be alike by
    chosen = np.flatnonzero((found.rows >= job.minimum_rows) & (domains["train_rows"].to_numpy() > 0))
    if len(chosen) < 3:
        raise DataError(
            f"{len(chosen)} domains have {job.minimum_rows} rows in the {job.split} split, three are needed",
            hint="lower --min-rows, or use --split train",
        )
    named = [_place(name, names, found) for name in job.named]
    progress.start("comparing domains", None, "pairs")
    train = load_rows(saved.data_folder, saved.manifest, Split.train, device=device)
    similar = similarities(saved, train, domains, chosen)
    by_layer = {
        layer: overlap(shares[chosen], prunes=found.prunes)
        for layer, shares in zip(found.layers, found.shares, strict=True)
    }
    whole = overlap(found.all_layers()[chosen], prunes=found.prunes)
    fields = key_fields(saved, domains, chosen)
    finding = _finding(job, found, names, chosen, similar, fields, by_layer, whole, named)
    pairs = _all_pairs(names, chosen, similar, by_layer, whole)
    return finding, keep(finding, saved.folder, whole={"pairs": pairs, "shares": _shares(names, found)})


def mantel_tests(
    similar: Mapping[str, Floats], overlap: Floats, *, keys: Sequence[Sequence[str]], permutations: int = 999
) -> dict[str, Mantel | None]:
    """Mantel's test of every similarity against a measure of overlap.

    Domains of like key have like embeddings, so their neurons are alike whatever was learnt; the planted groups follow
    the key in part. So they are tested beyond it as well: beyond which two values a pair has in each key field, since
    sharing one value is not sharing another, and values next to each other (ages, stars) can be alike in base rates alone;
    and beyond which fields it shares, since a pruner need not add up what it is told of two.
    """
    found = {kind: mantel(matrix, overlap, permutations=permutations) for kind, matrix in similar.items()}
    if "planted" in similar:
        found["planted | key"] = mantel(similar["planted"], overlap, given=key_pairs(keys), permutations=permutations)
    return found


def similarities(saved: SavedRun, train: Rows, domains: pl.DataFrame, chosen: NDArray[np.int64]) -> dict[str, Floats]:
    """How alike the chosen domains are, in every way that can be had."""
    fields = saved.manifest.fields
    columns = [
        k
        for k, field in enumerate(fields)
        if field.role is FieldRole.domain_agnostic and field.kind is not FieldKind.multi_valued
    ]
    found = {"key": key_similarity(key_fields(saved, domains, chosen))}
    if columns:
        ids = train.field_ids.cpu().numpy()[:, columns]
        assert train.labels is not None
        labels = train.labels.cpu().numpy()
        found["features"] = feature_similarity(ids, train.domains.astype(np.int64), chosen)
        found["labels"] = label_similarity(ids, labels, train.domains.astype(np.int64), chosen)
    planted = _planted(saved, domains, chosen)
    return found if planted is None else {**found, "planted": planted}


def key_fields(saved: SavedRun, domains: pl.DataFrame, chosen: NDArray[np.int64]) -> list[list[str]]:
    """Each key field's values in the chosen domains."""
    return [domains[key].fill_null("missing").gather(chosen).to_list() for key in key_columns(saved.manifest.domain)]


def _planted(saved: SavedRun, domains: pl.DataFrame, chosen: NDArray[np.int64]) -> Floats | None:
    """The groups that a synthetic twin planted, where these domains are those it planted them for."""
    path = saved.data_folder / "truth" / "domains.parquet"
    keys = list(saved.manifest.domain)
    if not path.exists():
        return None
    truth = pl.read_parquet(path)
    if sorted(truth.columns[: truth.columns.index("group")]) != sorted(keys):
        return None
    # a missing value is −1 in the raw text and null once it is read
    truth = truth.with_columns(pl.col(key).replace(-1, None).cast(pl.String) for key in keys)
    own = domains[chosen].select(keys).join(truth, on=keys, how="left", nulls_equal=True, maintain_order="left")
    if own["group"].null_count():
        return None
    return planted_similarity(own["group"].to_numpy(), own["second_group"].to_numpy(), own["second_weight"].to_numpy())


def _place(name: str, names: Sequence[str], found: Activity) -> int:
    wanted = "/".join(part.strip() for part in name.replace("·", "/").split("/"))
    if wanted not in names:
        raise UsageError(
            f"there is no domain {name!r}", hint=f"a domain is named by its key, such as {nearest_names(wanted, names)}"
        )
    place = names.index(wanted)
    if not found.rows[place]:
        raise UsageError(f"the domain {name!r} has no row in this split", hint="use --split train, or name another")
    return place


def _finding(
    job: OverlapJob,
    found: Activity,
    names: Sequence[str],
    chosen: NDArray[np.int64],
    similar: Mapping[str, Floats],
    keys: Sequence[Sequence[str]],
    by_layer: Mapping[str, Overlap],
    whole: Overlap,
    named: Sequence[int],
) -> Finding:
    measures = {"closeness": whole.closeness, **({"excess": whole.excess} if found.prunes else {})}
    tests = {
        (kind, measure): test
        for measure, values in measures.items()
        if np.isfinite(values).all()
        for kind, test in mantel_tests(similar, values, keys=keys, permutations=job.permutations).items()
    }
    main = "planted" if "planted" in similar else "features" if "features" in similar else "key"
    answers = [_said(kind, test) for (kind, measure), test in tests.items() if measure == "closeness"]
    pairs = _pairs(names, chosen, similar, main, whole)
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
            caption=f"p is one-sided, from {job.permutations:,} shuffles of the domains; n/a where one side does not vary.",
        ),
        Table(
            name="most-and-least",
            title=f"Most and least similar pairs, by {SIMILARITIES[main]}, with the overlap of all layers",
            rows=pairs,
        ),
        Table(name="layers", title="By layer, over all pairs", rows=_layers(by_layer, similar[main], found)),
    ]
    if named:
        tables.insert(0, _named_table(names, found, named))
        figures.insert(0, _named_figure(names, found, named))
    return Finding(
        name="overlap",
        title="Overlap of neurons",
        question="Do similar domains share more neurons?",
        answers=answers,
        tables=tables,
        figures=figures,
        notes=(
            f"{len(chosen)} of {int((found.rows > 0).sum())} domains are taken in: those with {job.minimum_rows} rows in the "
            f"{job.split} split. Run: {job.run.folder}.",
            "A neuron is active in a domain if its factor is above 0 in at least half of the domain's rows. Jaccard: shared over "
            "all active (or pruned) neurons of the two. Excess: agreement beyond that of two random sets of the same sizes, "
            "1 for equal sets. Closeness: 1 less the mean difference of the shares of rows in which a neuron is active.",
            "Domains with many rows may be alike in everything for that reason alone; the test does not tell this apart.",
            *(
                (
                    "Planted groups and neurons both follow the key, so a p beyond its values can be too small: compare with heterogeneity 0.",
                )
                if "planted" in similar
                else ()
            ),
        ),
    )


def _said(kind: str, test: Mantel | None) -> str:
    what = SIMILARITIES[kind]
    if test is None:
        return f"By {what}: cannot be said, since one side does not vary."
    verdict = "share more neurons" if test.p < 0.05 and test.correlation > 0 else "are not found to share more neurons"
    return f"By {what}, similar domains {verdict}: rank correlation {test.correlation:+.3f}, p {test.p:.3f}."


def _pairs(
    names: Sequence[str], chosen: NDArray[np.int64], similar: Mapping[str, Floats], main: str, whole: Overlap
) -> list[dict[str, Any]]:
    rows, columns = np.triu_indices(len(chosen), 1)
    # ties are broken by how alike the key is, then by the larger domains
    order = np.lexsort((-(rows + columns), similar["key"][rows, columns], similar[main][rows, columns]))
    ends = [*order[::-1][:SHOWN_PAIRS], *order[:SHOWN_PAIRS][::-1]] if len(order) > 2 * SHOWN_PAIRS else order[::-1]
    return [_pair(names, chosen, similar, whole, int(rows[k]), int(columns[k])) for k in ends]


def _pair(
    names: Sequence[str], chosen: NDArray[np.int64], similar: Mapping[str, Floats], whole: Overlap, a: int, b: int
) -> dict[str, Any]:
    return {
        "domain": names[chosen[a]],
        "other": names[chosen[b]],
        **{f"alike in {kind}": float(matrix[a, b]) for kind, matrix in similar.items()},
        "Jaccard, active": _number(whole.active[a, b]),
        "Jaccard, pruned": _number(whole.pruned[a, b]),
        "excess": _number(whole.excess[a, b]),
        "closeness": float(whole.closeness[a, b]),
    }


def _all_pairs(
    names: Sequence[str],
    chosen: NDArray[np.int64],
    similar: Mapping[str, Floats],
    by_layer: Mapping[str, Overlap],
    whole: Overlap,
) -> list[dict[str, Any]]:
    rows = []
    for a, b in itertools.combinations(range(len(chosen)), 2):
        row = _pair(names, chosen, similar, whole, a, b)
        for layer, own in by_layer.items():
            row[f"Jaccard, pruned, {layer}"] = _number(own.pruned[a, b])
            row[f"excess, {layer}"] = _number(own.excess[a, b])
            row[f"closeness, {layer}"] = float(own.closeness[a, b])
        rows.append(row)
    return rows


def _shares(names: Sequence[str], found: Activity) -> list[dict[str, Any]]:
    """One line per domain: how often each neuron is active."""
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


def _layers(by_layer: Mapping[str, Overlap], similarity: Floats, found: Activity) -> list[dict[str, Any]]:
    pairs = np.triu_indices(len(similarity), 1)
    values = similarity[pairs]
    similar, other = values >= np.quantile(values, 0.9), values <= np.quantile(values, 0.1)
    rows = []
    for (layer, own), shares in zip(by_layer.items(), found.shares, strict=True):
        row: dict[str, Any] = {"layer": layer, "neurons": shares.shape[1]}
        if found.prunes:
            always = (shares[found.rows > 0] >= 0.5).mean(0)
            row["never cut"] = int((always == 1).sum())
            row["always cut"] = int((always == 0).sum())
            for name, matrix in (
                ("Jaccard, active", own.active),
                ("Jaccard, pruned", own.pruned),
                ("excess", own.excess),
            ):
                row[name] = _mean(matrix[pairs])
            row["excess, similar tenth"] = _mean(own.excess[pairs][similar])
            row["excess, unlike tenth"] = _mean(own.excess[pairs][other])
        row["closeness"] = _mean(own.closeness[pairs])
        row["closeness, similar tenth"] = _mean(own.closeness[pairs][similar])
        row["closeness, unlike tenth"] = _mean(own.closeness[pairs][other])
        rows.append(row)
    return rows


def _heat(names: Sequence[str], chosen: NDArray[np.int64], whole: Overlap, prunes: bool, most: int = 60) -> Figure:
    """The overlap of the largest domains, like ones together."""
    shown = np.arange(min(len(chosen), most))  # domains are numbered by their training rows
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
        summary="Like domains stand together (average linkage); light is alike. The diagonal is 1.",
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
                    "Jaccard, active": _number(own.active[a, b]),
                    "Jaccard, pruned": _number(own.pruned[a, b]),
                    "excess": _number(own.excess[a, b]),
                    "closeness": float(own.closeness[a, b]),
                }
            )
    return Table(name="named", title=f"Overlap of {', '.join(names[k] for k in named)}", rows=rows)


def _named_figure(names: Sequence[str], found: Activity, named: Sequence[int]) -> Figure:
    """The paper's figure: neurons cut in all of the domains, in some, in none, by layer."""
    traces = []
    for k in range(len(named) + 1):
        style = Style.of(k)
        values = [float(((shares[list(named)] < 0.5).sum(0) == k).mean()) for shares in found.shares]
        name = (
            "cut in none"
            if k == 0
            else f"cut in all {len(named)}"
            if k == len(named)
            else f"cut in {k} of {len(named)}"
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
        title=f"Neurons cut together: {', '.join(names[k] for k in named)}",
        summary="Share of each layer's neurons that are cut in all, some or none of the domains.",
        traces=traces,
        layout={"barmode": "stack", "yaxis": {"tickformat": ".0%", "title": {"text": "share of neurons"}}},
    )


def _mean(values: Floats) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
