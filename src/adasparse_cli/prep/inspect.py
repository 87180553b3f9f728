"""Inspects raw files before training. Leaves no files behind."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from adasparse_cli.choices import DuplicateRule, FieldKind, Split, SplitRule
from adasparse_cli.errors import DataError
from adasparse_cli.prep.encode import domain_count, domain_table
from adasparse_cli.prep.engine import Engine, LocalEngine
from adasparse_cli.prep.noticed import (
    FEW_ROWS,
    LABELLED,
    about_days,
    about_leak,
    about_spellings,
    about_splits,
    auc_alone,
    day_count,
    day_counts,
    split_rule,
)
from adasparse_cli.prep.recipe import LABEL, DataSettings, FieldPlan, Finding, Progress, recipe_named, with_domain_id
from adasparse_cli.prep.spill import SPLIT, Spill, field_columns, spill_frames
from adasparse_cli.prep.splits import add_split, count_duplicates
from adasparse_cli.prep.vocabulary import bucket_vocabulary
from adasparse_cli.raw.rejected import Reject

VALUE = "__value"
SHOWN_REJECTS = 10


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """The results as rows of plain values; shares and rates are 0–1."""

    rows: int
    duplicates: int
    split: str
    splits: Sequence[dict[str, Any]]
    fields: Sequence[dict[str, Any]]
    domains: Sequence[dict[str, Any]]
    days: Sequence[dict[str, Any]]
    rejects: Sequence[dict[str, Any]]
    findings: Sequence[Finding]
    notes: Sequence[str]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def inspect(settings: DataSettings, raw: Sequence[Path], progress: Progress) -> Inspection:
    """Read the files as preparation does, and report unusual values.

    Raises:
        DataError: a file cannot be read at all.
    """
    recipe = recipe_named(settings.recipe)
    with tempfile.TemporaryDirectory(prefix="adasparse-inspect-") as name:
        work = Path(name)
        sources = recipe.sources(settings, list(raw), work, progress)
        data = with_domain_id(recipe.read(settings, sources), settings)
        size = sum(path.stat().st_size for path in sources)
        progress.start("reading", size, "bytes")
        spill = spill_frames(data, work / "spill", progress, size=size)
        engine = LocalEngine()
        duplicates = count_duplicates(spill, DuplicateRule.keep, engine)
        findings: list[Finding] = []
        rule = settings.split
        try:
            add_split(spill, settings, engine)
        except DataError as error:
            findings.append(Finding("error", error.message, error.hint))
            rule = SplitRule.random
            add_split(spill, replace(settings, split=rule), engine)
        plans = field_columns(data.plans)
        progress.start("looking", len(plans), "fields")
        fields, spelled = [], []
        for plan in plans:
            fields.append(_field(spill, plan, settings, engine))
            spelled += _spellings(spill, plan, data.domain)
            progress.advance(1)
        splits = _splits(spill)
        by_day, by_domain = engine.count(spill, [day_count(), domain_count(data.domain)])
        days, domains = day_counts(by_day), domain_table(by_domain, data.domain)
    findings += [
        *_about_rejects(data.rejects, spill.rows, settings),
        *data.noticed(),
        *about_splits(splits),
        *about_days(days, rule),
        *spelled,
        *_about_fields(fields),
        *_about_domains(domains),
    ]
    return Inspection(
        rows=spill.rows,
        duplicates=duplicates,
        split=split_rule({**asdict(settings), "split": rule}, _last_days(days)),
        splits=splits,
        fields=fields,
        domains=_tail(domains),
        days=days,
        rejects=[{**asdict(reject)} for reject in data.rejects[:SHOWN_REJECTS]],
        findings=findings,
        notes=data.notes,
    )


def _splits(spill: Spill) -> list[dict[str, Any]]:
    counted = spill.scan([SPLIT, LABEL]).group_by(SPLIT).agg(
        pl.len().alias("rows"), pl.col(LABEL).cast(pl.Int64).sum().alias("positives"), pl.col(LABEL).mean().alias("rate")
    )  # fmt: skip
    found = {row["__split"]: row for row in counted.collect().to_dicts()}
    return [
        {"split": split.value, **{name: found[split][name] for name in ("rows", "positives", "rate")}}
        for split in Split
        if split in found
    ]


def _last_days(days: Sequence[dict[str, Any]]) -> dict[str, tuple[str, str]]:
    """First and last day of the valid and the test split, which have one day each."""
    known = [row["day"] for row in days if row["rate"] is not None]
    return {split: (day, day) for split, day in zip(("test", "valid"), reversed(known), strict=False)}


def _field(spill: Spill, plan: FieldPlan, settings: DataSettings, engine: Engine) -> dict[str, Any]:
    """Cardinality, missing values, share of test values unseen in training, and AUC of the field alone."""
    # a field may have the name of a column of these tables
    values = spill.scan([plan.name, SPLIT, LABEL]).rename({plan.name: VALUE})
    missing = pl.col(VALUE).is_null() if plan.kind is not FieldKind.multi_valued else pl.col(VALUE) == 0
    seen = values.select(
        pl.col(VALUE).n_unique().alias("distinct"),
        missing.mean().alias("missing"),
        pl.len().alias("rows"),
    ).collect()
    if plan.kind is FieldKind.numeric:
        # computed from its buckets, as a model would receive it
        vocabulary = bucket_vocabulary(spill, plan.name, settings.numeric_buckets, engine)
        table = values.collect()
        values = table.with_columns(vocabulary.ids(table[VALUE]).alias(VALUE)).lazy()
    counts = values.group_by([VALUE, SPLIT]).agg(
        pl.len().alias("rows"), pl.col(LABEL).cast(pl.Int64).sum().alias("positives")
    )
    table = counts.collect()
    train = table.filter(pl.col(SPLIT) == Split.train.value)
    test = table.filter(pl.col(SPLIT) == Split.test.value)
    joined = test.join(train, on=VALUE, how="left", nulls_equal=True, suffix="_train")
    total = int(test["rows"].sum())
    unseen = int(joined.filter(pl.col("rows_train").is_null())["rows"].sum()) / total if total else None
    top = table.group_by(VALUE).agg(pl.col("rows").sum()).sort("rows")["rows"].tail(1)
    return {
        "field": plan.name,
        "kind": plan.kind.value,
        "role": plan.role.value,
        "distinct": int(seen["distinct"][0]),
        "missing": float(seen["missing"][0] or 0.0),
        "top value share": int(top.sum()) / int(seen["rows"][0]),
        "unseen": unseen,
        "AUC alone": auc_alone(train, joined),
    }


def _spellings(spill: Spill, plan: FieldPlan, domain: Sequence[str]) -> list[Finding]:
    values = spill.scan([plan.name])
    if plan.kind is not FieldKind.categorical or values.collect_schema()[plan.name] != pl.String:
        return []
    counts = values.group_by(pl.col(plan.name).alias("value")).agg(pl.len().alias("rows")).collect()
    return about_spellings(plan.name, counts, domain=plan.name in domain)


def _tail(domains: pl.DataFrame) -> list[dict[str, Any]]:
    """Domains by split: their number, quantiles of their rows, and how many have a single class."""
    rows = []
    for split in LABELLED:
        own = domains.filter(pl.col(f"{split}_rows") > 0)
        counts = own[f"{split}_rows"]
        one_class = own.filter(
            (pl.col(f"{split}_positives") == 0) | (pl.col(f"{split}_positives") == pl.col(f"{split}_rows"))
        )
        total = int(counts.sum())
        rows.append(
            {
                "split": split.value,
                "domains": own.height,
                "rows: median": counts.median(),
                "largest": counts.max(),
                f"under {FEW_ROWS} rows": int((counts < FEW_ROWS).sum()),
                "one class": one_class.height,
                "one-class row share": int(one_class[f"{split}_rows"].sum()) / total if total else None,
            }
        )
    return rows


def _about_rejects(rejects: Sequence[Reject], good: int, settings: DataSettings) -> list[Finding]:
    if not rejects:
        return []
    share = len(rejects) / (good + len(rejects))
    counts = Counter(reject.reason for reject in rejects).most_common()
    reasons = ", ".join(f"{count} × {reason}" for reason, count in counts[:3])
    if others := sum(count for _, count in counts[3:]):
        reasons += f", {others} for other reasons"
    return [
        Finding("error" if share > settings.max_rejected else "note", f"{len(rejects)} rows ({share:.3%}) would be rejected: {reasons}", "correct them at the source, or raise data.max_rejected")
    ]  # fmt: skip


def _about_fields(fields: Sequence[dict[str, Any]]) -> list[Finding]:
    result = []
    for row in fields:
        name = row["field"]
        result += about_leak(name, row["AUC alone"])
        if row["distinct"] == 1:
            result.append(Finding("note", f"{name} has a single value", "a model can learn nothing from it"))
        elif row["unseen"] is not None and row["unseen"] > 0.9:
            result.append(
                Finding("warning", f"{row['unseen']:.0%} of {name}'s test values are unseen in training", "a model can learn little from it")
            )  # fmt: skip
        if row["missing"] > 0.5:
            result.append(
                Finding(
                    "note",
                    f"{name} is missing in {row['missing']:.0%} of rows",
                    "missing is treated as a separate value",
                )
            )
    return result


def _about_domains(domains: pl.DataFrame) -> list[Finding]:
    result = []
    train = domains.filter(pl.col("train_rows") > 0)
    few = train.filter(pl.col("train_rows") < FEW_ROWS).height
    if train.height == 1:
        result.append(Finding("warning", "there is only one domain", "choose other fields with data.domain=[…]"))
    elif few > train.height / 2:
        result.append(
            Finding("note", f"{few} of {train.height} domains have fewer than {FEW_ROWS} training rows", "evaluate them together, not one by one")
        )  # fmt: skip
    fresh = domains.filter((pl.col("train_rows") == 0) & (pl.col("test_rows") > 0))
    if fresh.height:
        result.append(
            Finding(
                "note",
                f"{fresh.height} test domains are unseen in training",
                "they are scored with the parameters that all domains share",
            )
        )
    return result
