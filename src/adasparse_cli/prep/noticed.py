"""Warnings of preparation and inspection, from counts: fields that reveal the label, spellings, days, sizes of splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from adasparse_cli.choices import FieldKind, Split, SplitRule
from adasparse_cli.errors import IntegrityError
from adasparse_cli.files import read_json, write_json
from adasparse_cli.prep.counts import ROWS, Count
from adasparse_cli.prep.recipe import DAY, LABEL, Finding
from adasparse_cli.prepared.files import data_file
from adasparse_cli.prepared.tables import key_columns
from adasparse_cli.schema import Field, Manifest
from adasparse_cli.typed import require_types

if TYPE_CHECKING:
    from adasparse_cli.prep.vocabulary import Vocabulary

FINDINGS = "findings.json"
LABELLED = (Split.train, Split.valid, Split.test)
# A field that alone ranks held-out rows this well is probably derived from the label.
LEAK_AUC = 0.95
LEAK_POSITIVES = 20
FEW_ROWS = 100
# A day with a smaller share of the median day's rows probably has wrong timestamps.
FEW_OF_A_DAY = 0.05
# In a field with more values, case may distinguish ids.
MOST_NAMES = 10_000
SHOWN = 3


def auc_alone(train: pl.DataFrame, test: pl.DataFrame) -> float | None:
    """AUC on test rows of a field's smoothed rate in training, from counts, so that ties are exact.

    Args:
        train: rows and positives per value. test: rows and positives per value, and of the same value in training
            `rows_train` and `positives_train`.

    Returns:
        In [0, 1]; None if the test rows have too few positives, or no negative.
    """
    rate = int(train["positives"].sum() or 0) / max(int(train["rows"].sum()), 1)
    scored = test.with_columns(
        ((pl.col("positives_train").fill_null(0) + 10 * rate) / (pl.col("rows_train").fill_null(0) + 10)).alias("score")
    )
    runs = scored.group_by("score").agg(pl.col("rows").sum(), pl.col("positives").sum()).sort("score")
    positives, negatives = runs["positives"].cast(pl.Int64), (runs["rows"] - runs["positives"]).cast(pl.Int64)
    pairs = int(positives.sum()) * int(negatives.sum())
    if int(positives.sum()) < LEAK_POSITIVES or not pairs:
        return None
    below = negatives.cum_sum() - negatives
    return float((positives * (below + negatives / 2)).sum()) / pairs


def about_leak(field: str, auc: float | None) -> list[Finding]:
    """A warning for a field that ranks held-out rows almost perfectly by itself."""
    if auc is None or auc <= LEAK_AUC:
        return []
    return [
        Finding(
            "error",
            f"{field} alone ranks held-out rows with AUC {auc:.3f}: it may be made from the label",
            f"ignore it unless it is known before the event: 'data.roles={{{field}: ignored}}'",
        )
    ]


def leaks(work: Path, fields: Sequence[Field]) -> list[Finding]:
    """`about_leak` for every field of encoded parts."""
    train, test = (sorted((work / split).glob("part-*.parquet")) for split in (Split.train, Split.test))
    if not train or not test:
        return []
    found: list[Finding] = []
    for field in fields:
        own, held_out = (
            pl.scan_parquet(parts, glob=False)
            .group_by(pl.col(field.name).alias("value"))
            .agg(pl.len().cast(pl.Int64).alias("rows"), pl.col(LABEL).cast(pl.Int64).sum().alias("positives"))
            .collect()
            for parts in (train, test)
        )
        joined = held_out.join(own, on="value", how="left", suffix="_train")
        found += about_leak(field.name, auc_alone(own, joined))
    return found


def about_spellings(field: str, counts: pl.DataFrame, *, domain: bool) -> list[Finding]:
    """A warning for texts of a field that differ only in case or outer spaces.

    Args:
        counts: columns `value` (text) and `rows`. domain: whether the field is part of the domain.
    """
    stripped = pl.col("value").str.strip_chars()
    plain = stripped.str.to_lowercase() if counts.height <= MOST_NAMES else stripped
    known = counts.filter(pl.col("value").is_not_null()).with_columns(plain.alias("plain"))
    several = known.filter(pl.len().over("plain") > 1)
    if several.is_empty():
        return []
    groups = several.sort("rows", "value", descending=[True, False]).group_by("plain", maintain_order=True)
    pairs = [
        " and ".join(f"{value!r} ({rows:,} rows)" for value, rows in own.select("value", "rows").iter_rows())
        for _, own in groups
    ]
    shown = "; ".join(pairs[:SHOWN]) + (f"; {len(pairs) - SHOWN} more" if len(pairs) > SHOWN else "")
    kind = "domains" if domain else "values"
    spaces = several.group_by("plain").agg(stripped.n_unique())["value"].max() == 1
    rule = "stripped" if spaces else "lower_case"
    return [
        Finding(
            "warning" if domain else "note",
            f"{field} has {kind} that differ only in {'outer spaces' if spaces else 'case or outer spaces'}: {shown}",
            f"correct them at the source, or merge them with data.spelling={rule} (data=tabular)",
        )
    ]


def spellings(domains: pl.DataFrame, domain: Sequence[str], vocabularies: Mapping[str, Vocabulary]) -> list[Finding]:
    """`about_spellings` for every text field: from all rows for the domain's fields, from training rows for others."""
    found: list[Finding] = []
    rows = pl.sum_horizontal(pl.col(f"{split}_rows") for split in Split).sum().alias("rows")
    for name, key in zip(domain, key_columns(domain), strict=True):
        counts = domains.group_by(pl.col(key).alias("value")).agg(rows)
        found += about_spellings(name, counts, domain=True)
    for name, vocabulary in vocabularies.items():
        if name not in domain and vocabulary.kind is FieldKind.categorical:
            table = vocabulary.table
            if table["value"].dtype == pl.String:
                found += about_spellings(name, table.select("value", pl.col("count").alias("rows")), domain=False)
    return found


def day_count() -> Count:
    """Rows by day and label."""
    return Count(keys=(pl.col(DAY), pl.col(LABEL)), where=pl.col(DAY).is_not_null())


def day_counts(counts: pl.DataFrame) -> list[dict[str, Any]]:
    """Labelled and unlabelled rows by day: day, rows, positives, rate.

    Args:
        counts: of `day_count`.
    """
    labelled = pl.col(ROWS).filter(pl.col(LABEL).is_not_null()).sum()
    positives = (pl.col(ROWS) * pl.col(LABEL)).sum()
    table = (
        counts.group_by(DAY)
        .agg(pl.col(ROWS).sum(), positives.alias("positives"), labelled.alias("labelled"))
        .sort(DAY)
        .with_columns(pl.when(pl.col("labelled") > 0).then(pl.col("positives") / pl.col("labelled")).alias("rate"))
    )
    return table.select(pl.col(DAY).cast(pl.Date).cast(pl.String).alias("day"), ROWS, "positives", "rate").to_dicts()


def about_days(days: Sequence[dict[str, Any]], rule: SplitRule) -> list[Finding]:
    """A warning for days with almost no rows; an error if the last two days are the test and the valid split."""
    labelled = [row for row in days if row["rate"] is not None]
    if len(labelled) < 3:
        return []
    usual = float(pl.Series([row["rows"] for row in labelled]).median() or 0.0)  # type: ignore[arg-type]
    few = [row for row in labelled if row["rows"] < FEW_OF_A_DAY * usual]
    if not few:
        return []
    uses = {labelled[-1]["day"]: "test", labelled[-2]["day"]: "valid"} if rule is SplitRule.day else {}
    few.sort(key=lambda row: row["day"] not in uses)
    shown = ", ".join(
        f"{row['day']} has {row['rows']:,}" + (f" (all of the {uses[row['day']]} split)" if row["day"] in uses else "")
        for row in few[:SHOWN]
    )
    more = f", and {len(few) - SHOWN} more days" if len(few) > SHOWN else ""
    grave = any(row["day"] in uses for row in few)
    return [
        Finding(
            "warning" if grave else "note",
            f"days with almost no rows (median day: {usual:,.0f}): {shown}{more}",
            "remove these rows if their times are wrong, or split with data.split=random",
        )
    ]


def about_splits(splits: Sequence[dict[str, Any]]) -> list[Finding]:
    """Warnings for splits that are empty, have one class, or whose metrics will have wide intervals.

    Args:
        splits: split, rows and positives of each.
    """
    found = {row["split"]: row for row in splits}
    result = []
    for split in LABELLED:
        row = found.get(split.value)
        if row is None or not row["rows"]:
            result.append(Finding("error", f"the {split} split is empty", "use more data or another data.split"))
        elif row["positives"] in (0, row["rows"]):
            text = f"the {split} split has one class only: {row['positives']:,} positives in {row['rows']:,} rows"
            result.append(Finding("error", text, "use more data or another data.split"))
        elif (few := min(row["positives"], row["rows"] - row["positives"])) < FEW_ROWS:
            text = f"the {split} split has {few} rows of its rarer class"
            result.append(Finding("warning", text, "expect metrics with wide intervals"))
    return result


def split_rule(settings: Mapping[str, Any], days: Mapping[str, Sequence[str]]) -> str:
    """How rows are assigned to splits, as text.

    Args:
        settings: of the data. days: first and last day of the valid and the test split, if they have one.
    """
    if settings["split"] == SplitRule.random:
        valid, test = settings["valid_share"], settings["test_share"]
        return f"split: random by row hash, {valid:.0%} valid, {test:.0%} test"
    if settings["split"] == SplitRule.given:
        files = ", ".join(settings["test_files"])
        return f"split: given, test = {files}; of the other rows {settings['valid_share']:.0%} valid by row hash"
    named = ", ".join(
        f"{split} = {' to '.join(dict.fromkeys(days[split]))}" for split in ("valid", "test") if days.get(split)
    )
    return f"split: by day, {named}" if named else "split: by day"


def split_days(folder: Path, manifest: Manifest) -> dict[str, tuple[str, str]]:
    """First and last day of the valid and the test split of prepared data."""
    found = {}
    for split in (Split.valid, Split.test):
        names = [name for name in sorted(manifest.files) if name.startswith(f"{split}/part-")]
        parts = [data_file(folder, manifest, name) for name in names]
        if parts and DAY in pl.scan_parquet(parts, glob=False).collect_schema():
            day = pl.col(DAY).cast(pl.Date).cast(pl.String)
            first, last = pl.scan_parquet(parts, glob=False).select(day.min(), day.max().alias("last")).collect().row(0)
            if first is not None:
                found[split.value] = (first, last)
    return found


def write_findings(findings: Sequence[Finding], folder: Path) -> None:
    """Store findings with prepared data. An error becomes a warning, because the data were prepared in spite of it."""
    kept = [replace(one, severity="warning") if one.severity == "error" else one for one in findings]
    write_json(folder / FINDINGS, [asdict(one) for one in kept])


def read_findings(folder: Path, manifest: Manifest) -> list[Finding]:
    """The findings of the preparation of data; empty for data of earlier versions.

    Raises:
        IntegrityError: the file is damaged.
    """
    if FINDINGS not in manifest.files:
        return []
    path = data_file(folder, manifest, FINDINGS)
    hint = "prepare the data again with adasparse prep"
    found = read_json(path)
    require_types(found, Sequence[Finding], path, hint=hint)
    try:
        return [Finding(**one) for one in found]
    except TypeError as error:
        raise IntegrityError(f"{path} is damaged: {error}", hint=hint) from None
