"""Simulated auctions with two saved runs, on data with known true rates or logged propensities."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from adasparse_cli.analysis.abtest import MOST_SPREAD, Change, Trial, trial
from adasparse_cli.choices import Split
from adasparse_cli.errors import DataError, UsageError
from adasparse_cli.findings.figures import by_exposure, exposure_layout
from adasparse_cli.findings.finding import Figure, Finding, Interval, Table
from adasparse_cli.findings.kept import write_finding
from adasparse_cli.findings.wording import counted, none_if_nan
from adasparse_cli.prep.recipe import PROPENSITY, Progress, Silent
from adasparse_cli.prepared.files import truth_file
from adasparse_cli.prepared.tables import domain_names, read_domains, read_split
from adasparse_cli.runs.run_tables import read_predictions
from adasparse_cli.scoring.score import SavedRun

KEY = ["source", "line"]


@dataclass(frozen=True, kw_only=True)
class AbTestJob:
    """The two runs and the settings of the auctions; see `analysis.abtest.trial`."""

    a: SavedRun
    b: SavedRun
    auctions: int
    candidates: int
    bid_spread: float
    seed: int


def run_abtest(job: AbTestJob, progress: Progress | None = None) -> tuple[Finding, Path]:
    """Simulate the auctions and store the finding in the folder of run B.

    Raises:
        UsageError: the spread of bids is out of its range.
        DataError: the data have neither true rates nor propensities, or the runs were trained on different data.
        IntegrityError: the predictions of a run are missing or damaged.
    """
    progress = progress or Silent()
    if not 0 <= job.bid_spread <= MOST_SPREAD:
        raise UsageError(
            f"--bid-spread is {job.bid_spread:g}, but must be from 0 to {MOST_SPREAD:g}",
            hint="it is the standard deviation of the bids' logarithm: with 0.5 two bids in three are within a factor of 1.6",
        )
    if job.a.manifest.fingerprint != job.b.manifest.fingerprint:
        raise DataError(
            f"{job.a.folder} and {job.b.folder} were trained on different data: {job.a.manifest.name} and {job.b.manifest.name}",
            hint="name two runs on the same prepared data",
        )
    a, b = (read_predictions(run.folder) for run in (job.a, job.b))
    if not a.select(*KEY, "label").equals(b.select(*KEY, "label")):
        raise DataError(f"{job.b.folder} scores other rows than {job.a.folder}", hint="train one of the two again")
    known_of = _known_outcomes(job.a, a)
    progress.start("auctions", job.auctions, "auctions")
    found = trial(
        a["domain"].to_numpy().astype(np.int64),
        known_of.rates,
        a["probability"].to_numpy(),
        b["probability"].to_numpy(),
        auctions=job.auctions,
        candidates=job.candidates,
        bid_spread=job.bid_spread,
        seed=job.seed,
        propensities=known_of.propensities,
        on_auctions=lambda number: progress.advance(number),
    )
    if not len(found.domains):
        raise DataError(f"no domain has {job.candidates} rows in the {Split.test} split", hint="use fewer --candidates")
    finding = _finding(job, found, known_of)
    return finding, write_finding(finding, job.b.folder)


@dataclass(frozen=True)
class Known:
    """The outcome of showing a row: its true rate, or its label and the probability with which it was logged.

    Args:
        notes: what this means for a reader.
    """

    rates: np.ndarray
    propensities: np.ndarray | None
    notes: tuple[str, ...]


def _known_outcomes(run: SavedRun, rows: pl.DataFrame) -> Known:
    """The known outcomes of the scored rows, in their order."""
    truth = truth_file(run.data_folder, run.manifest, "rows.parquet")
    if truth is not None:
        rates = rows.select("line").join(
            pl.read_parquet(truth, glob=False), on="line", how="left", maintain_order="left"
        )
        return Known(
            rates["probability"].to_numpy(),
            None,
            (
                "Clicks are counted at their true rate. A rate here is whatever the label means: on IAAC's twin, a purchase "
                "after a click.",
            ),
        )
    split = read_split(run.data_folder, run.manifest, Split.test)
    if PROPENSITY not in split.columns:
        raise DataError(
            f"the true rate of a row of {run.manifest.name} is not known, so the outcome of showing another ad is not known either",
            hint="use the synthetic twin; your own log needs the probability with which each row was shown, in a column that "
            "data.propensity names",
        )
    logged = split.select("__source", "__line", PROPENSITY).rename({"__source": "source", "__line": "line"})
    chances = rows.select(*KEY).join(logged, on=KEY, how="left", maintain_order="left")[PROPENSITY].to_numpy()
    weights = 1.0 / chances
    return Known(
        rows["label"].to_numpy().astype(np.float64),
        chances,
        (
            "An off-policy estimate: a logged row is drawn as a candidate with a probability proportional to 1 / its propensity, and "
            f"its recorded label is used. {len(weights):,} rows are as informative as {weights.sum() ** 2 / (weights**2).sum():,.0f} "
            f"rows of equal weight; the largest weight is {weights.max() / weights.sum():.2%} of all.",
            "The estimate is valid if the propensities are correct. Rows that the logging system never shows are not in the log, so "
            "their outcome is not estimated.",
        ),
    )


def _finding(job: AbTestJob, found: Trial, known_of: Known) -> Finding:
    name_a, name_b = (f"{run.job.label} ({run.folder.name})" for run in (job.a, job.b))
    rows = [
        {
            "figure": change.name,
            "A": none_if_nan(change.a),
            "B": none_if_nan(change.b),
            "change, %": none_if_nan(100 * change.relative),
            "95 % interval, %": _interval(change),
            "beyond chance": None if none_if_nan(change.low) is None else not change.low <= 0 <= change.high,
        }
        for change in found.changes
    ]
    held = np.flatnonzero(found.auctions)
    answers = [_answer(change, len(held)) for change in found.changes]
    answers.append(
        f"CTR is higher in B in {found.uplift_domains:.1%} of domains (UPR), {found.uplift_auctions:.1%} weighted by auctions."
    )
    domains = read_domains(job.a.data_folder, job.a.manifest)
    of_a = found.a.clicks[held] / found.auctions[held]
    of_b = found.b.clicks[held] / found.auctions[held]
    names = domain_names(domains, job.a.manifest.domain).gather(found.domains[held]).to_list()
    by_domain = [
        {
            "domain": name,
            "training rows": int(domains["train_rows"][int(domain)]),
            "auctions": int(number),
            "CTR A": float(one),
            "CTR B": float(other),
            "change, %": float(100 * (other / one - 1)) if one else None,
        }
        for name, domain, number, one, other in zip(
            names, found.domains[held], found.auctions[held], of_a, of_b, strict=True
        )
    ]
    marks = by_exposure(
        1,
        "domains",
        [row["training rows"] for row in by_domain],
        [row["change, %"] for row in by_domain],
        [row["domain"] for row in by_domain],
        unit=" %",
    )
    figure = Figure(
        name="uplift",
        title="Change of CTR by domain, against its training rows",
        summary="Each mark is a domain. Above 0, B has the higher CTR.",
        traces=[marks],
        layout=exposure_layout("CTR of B over A, %"),
    )
    return Finding(
        name="abtest",
        title="Simulated auctions",
        question=f"What would change if {name_b} (B) chose the ads instead of {name_a} (A)?",
        answers=answers,
        tables=[
            Table(
                name="changes",
                title=f"{counted(int(found.auctions.sum()), 'auction')} in {counted(len(held), 'domain')}",
                rows=rows,
            ),
            Table(name="domains", title="By domain", rows=by_domain, long=True),
        ],
        figures=[figure],
        notes=(
            f"Each auction draws {job.candidates} rows of one domain's test rows as candidates; bids are log-normal with "
            f"median 1 and standard deviation {job.bid_spread} of the logarithm; ranked by bid × predicted rate, second price. "
            "Both arms receive the same auctions. CPC and RPM are in units of the median bid.",
            *known_of.notes,
            "Intervals include the variance over domains, but not over training runs: two runs of one model with different seeds "
            "also differ.",
        ),
    )


def _answer(change: Change, domains: int) -> str:
    """The change of a metric, and whether chance can explain it."""
    interval = _interval(change)
    if none_if_nan(change.relative) is None:
        without = "B" if none_if_nan(change.a) else "A"
        return f"{change.name}: not available, because arm {without} has no clicks."
    if change.relative == 0:
        return f"{change.name}: no change."
    by = f"{change.name}: {100 * change.relative:+.2f} %"
    if interval.low is None:
        where = "from auctions in one domain" if domains == 1 else "from these auctions"
        return f"{by}; no interval is available {where}."
    return f"{by} {interval}" + (", which chance can explain." if change.low <= 0 <= change.high else ".")


def _interval(change: Change) -> Interval:
    return Interval.of(100 * change.low, 100 * change.high, decimals=2)
