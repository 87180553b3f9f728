"""The table of all domains, and the best and worst domains of a single arm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from adasparse_cli.errors import IntegrityError
from adasparse_cli.findings.finding import ENOUGH_POSITIVES, Finding, Support, Table
from adasparse_cli.findings.wording import counted
from adasparse_cli.runs.run_tables import read_domain_rows
from adasparse_cli.runs.saved_run import DOMAINS, anew, run_file
from adasparse_cli.studies.comparison import Comparison, domain_table

DOMAIN_COLUMNS = ("domain", "train_rows", "test_rows", "test_positives")
EXTREMES = 5  # number of best and of worst domains of a single arm
MEASURED = {"test_auc": "AUC", "test_log_loss": "log loss", "test_calibration": "predicted / actual"}


def whole_domain_table(comparison: Comparison) -> pl.DataFrame | None:
    """All domains as returned by `domain_table`; None without test rows, or with several worlds that have other domains.

    Raises:
        IntegrityError: a run's table of domains is missing or damaged.
    """
    if comparison.worlds or not comparison.data["splits"].get("test", {}).get("rows"):
        return None
    tables = {folder: domain_file(folder) for arm in comparison.arms for folder in arm.folders.values()}
    number = max((table.height for table in tables.values()), default=0)
    if comparison.rows is not None:
        number = max(number, int(comparison.rows.domains.max(initial=-1)) + 1)
    for folder, table in tables.items():
        if table.height != number:
            raise IntegrityError(
                f"{folder / DOMAINS} has {table.height:,} domains instead of {number:,}", hint=anew(folder)
            )
    return domain_table(comparison)


def domain_file(folder: Path) -> pl.DataFrame:
    """A run's domains.csv, one line per domain in the order of the ids.

    Raises:
        IntegrityError: it is missing or damaged.
    """
    path = run_file(folder, DOMAINS)
    try:
        table = read_domain_rows(path)
        counts = table.select(DOMAIN_COLUMNS).cast(pl.Int64, strict=True)
    except pl.exceptions.PolarsError as error:
        raise IntegrityError(f"{path} is damaged: {_first_line(error)}", hint=anew(folder)) from None
    if table.columns[0] != "domain" or counts["domain"].to_list() != list(range(table.height)):
        raise IntegrityError(f"{path} is damaged: its domains are not 0, 1, 2, …", hint=anew(folder))
    return table


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


# Columns of the table of domains that are not metrics.
COUNTED = ("domain", "training rows", "test rows", "positives")


def domains_finding(comparison: Comparison, domains: pl.DataFrame) -> Finding | None:
    """Every domain, for sorting and filtering; for a single arm, its best and worst domains first."""
    if comparison.rows is None:
        return None
    base = comparison.baseline
    others = [arm for arm in comparison.logits if arm != base]
    rows: list[dict[str, Any]] = []
    for row in domains.filter(pl.col("test_rows") > 0).iter_rows(named=True):
        auc = {arm: row[f"AUC {arm}"] for arm in comparison.logits}
        rows.append(
            {
                "domain": row["name"],
                "training rows": row["train_rows"],
                "test rows": row["test_rows"],
                "positives": row["test_positives"],
                **{f"gain {arm}": _gain(auc[arm], auc[base]) for arm in others if base in auc},
                **{f"AUC {arm}": value for arm, value in auc.items()},
            }
        )
    few = [k for k, row in enumerate(rows) if row["positives"] < ENOUGH_POSITIVES]
    gains = f"Gain: AUC minus AUC of {base}. " if others else ""
    whole = Table(
        name="domains",
        title=f"{counted(len(rows), 'domain')} with test rows, {' × '.join(comparison.data['domain'])}",
        rows=rows,
        caption=f"{gains}AUC is the mean over seeds, n/a where a domain has one class. Rows in grey have fewer than "
        f"{ENOUGH_POSITIVES} positives: their AUC is mostly noise.",
        long=True,
        gains=[f"gain {arm}" for arm in others],
        faint=few,
        support=Support(estimates=dict.fromkeys((name for row in rows[:1] for name in row if name not in COUNTED), "")),
    )
    enough, among = len(rows) - len(few), f"of {counted(len(rows), 'domain')}"
    start = f"{enough:,} {among} {'has' if enough == 1 else 'have'}" if enough else f"None {among} has"
    end = "." if enough else ", so no single domain can be judged."
    answers = [f"{start} at least {ENOUGH_POSITIVES} positives in the test rows{end}"]
    extremes = extreme_table(comparison) if len(comparison.arms) == 1 else None
    return Finding(
        name="domains",
        title="Domains",
        question="Which domains are served well, and which are not?",
        answers=answers,
        tables=[extremes, whole] if extremes is not None else [whole],
    )


def _gain(value: float | None, base: float | None) -> float | None:
    return None if value is None or base is None else value - base


def extreme_table(comparison: Comparison) -> Table | None:
    """The best and worst domains of a single arm by AUC, mean over seeds, among domains with enough positives; None if there are none."""
    (arm,) = comparison.arms
    tables = [domain_file(folder) for folder in arm.folders.values()]
    if not all(set(MEASURED) <= set(table.columns) for table in tables):
        return None
    names = domain_table(comparison).select("domain", "name")
    mean = pl.concat(
        [table.select("domain", *DOMAIN_COLUMNS[1:], *MEASURED).cast(pl.Float64, strict=False) for table in tables]
    )
    # a domain with one class has no AUC for any seed
    judged = (
        mean.group_by("domain")
        .agg(pl.all().mean())
        .with_columns(pl.col(*DOMAIN_COLUMNS).cast(pl.Int64))
        .filter((pl.col("test_positives") >= ENOUGH_POSITIVES) & pl.col("test_auc").is_not_null())
        .join(names.cast({"domain": pl.Int64}), on="domain")
        .sort("test_auc", "domain", descending=[True, False])
    )
    if not judged.height:
        return None
    ends = judged if judged.height <= 2 * EXTREMES else pl.concat([judged.head(EXTREMES), judged.tail(EXTREMES)])
    enough = f"at least {ENOUGH_POSITIVES} positives"
    rows = [
        {
            "domain": row["name"],
            "training rows": row["train_rows"],
            "test rows": row["test_rows"],
            "positives": row["test_positives"],
            **{name: row[column] for column, name in MEASURED.items()},
        }
        for row in ends.iter_rows(named=True)
    ]
    return Table(
        name="extremes",
        title=f"Domains with {enough} by test AUC"
        if ends.height == judged.height
        else f"Best and worst domains by test AUC, of {judged.height:,} with {enough}",
        rows=rows,
        shares=["AUC"],
    )
