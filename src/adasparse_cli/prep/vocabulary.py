"""Second pass: the values of each field, learned from the train split only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from adasparse_cli.choices import FieldKind, Split
from adasparse_cli.prep.lookup import Lookup
from adasparse_cli.prep.order_statistics import order_statistics
from adasparse_cli.prep.recipe import FieldPlan
from adasparse_cli.prep.spill import FRAMES_AT_ONCE, SPLIT, BagTable, Spill


@dataclass(frozen=True)
class Vocabulary:
    """Maps a field's values to ids. Id 0 is for values that are unseen in training, or rarer there than the minimum count.

    Args:
        table: of a categorical or multi-valued field: id (Int32, from 1), value, count, ordered by
            (−count, value), missing last among equals; of a numeric one: id, lower (inclusive), upper
            (exclusive); the last row without bounds is "missing" if training has missing values.
        kind: of the field.
    """

    table: pl.DataFrame
    kind: FieldKind

    @property
    def size(self) -> int:
        """Number of ids, including id 0."""
        return self.table.height + 1

    def ids(self, values: pl.Series) -> pl.Series:
        """The id of each value, Int32."""
        if self.kind is FieldKind.numeric:
            return self._bucket_ids(values)
        return pl.Series(values.name, self._lookup.places(values) + 1)

    @cached_property
    def _lookup(self) -> Lookup:
        return Lookup(self.table["value"])

    def _bucket_ids(self, values: pl.Series) -> pl.Series:
        lower = self.table["lower"].drop_nulls()
        missing = self.table.height if self.table.height > len(lower) else 0
        if len(lower) == 0:
            ids = np.full(len(values), missing, dtype=np.int32)
        else:
            numbers = values.cast(pl.Float64).fill_null(0.0).to_numpy()
            # the first bucket has no lower bound
            ids = np.maximum(np.searchsorted(lower.to_numpy(), numbers, side="right"), 1).astype(np.int32)
            if values.null_count():
                ids[values.is_null().to_numpy()] = missing
        return pl.Series(values.name, ids, dtype=pl.Int32)


def build_vocabulary(spill: Spill, plan: FieldPlan, *, min_count: int, buckets: int) -> Vocabulary:
    """Count a field's values in the train rows."""
    train = spill.scan([plan.name, SPLIT]).filter(pl.col(SPLIT) == Split.train.value)
    if plan.kind is FieldKind.numeric:
        return Vocabulary(_buckets(spill, plan.name, buckets), plan.kind)
    counts = train.group_by(pl.col(plan.name).alias("value")).agg(pl.len().alias("count")).collect()
    return Vocabulary(_ordered(counts, min_count), plan.kind)


def build_bag_vocabulary(
    spill: Spill, plan: FieldPlan, bags: BagTable, *, min_count: int
) -> tuple[Vocabulary, pl.DataFrame]:
    """Count the values of a multi-valued field in the train rows.

    Returns:
        The vocabulary, and all bags with one row per value: bag, value.
    """
    values = bag_values(plan, bags.texts(), first_bag=1)
    train = spill.scan([plan.name, SPLIT]).filter(pl.col(SPLIT) == Split.train.value)
    uses = train.group_by(pl.col(plan.name).alias("bag")).agg(pl.len().alias("uses")).collect()
    counts = values.join(uses, on="bag", how="inner").group_by("value").agg(pl.col("uses").sum().alias("count"))
    return Vocabulary(_ordered(counts, min_count), plan.kind), values


def bag_values(plan: FieldPlan, texts: pl.Series, *, first_bag: int) -> pl.DataFrame:
    """One row per value of each bag, in the bag's order."""
    assert plan.parse is not None
    lists = plan.parse(texts).alias("value")
    numbers = pl.int_range(first_bag, first_bag + len(texts), dtype=pl.Int32, eager=True).alias("bag")
    return pl.DataFrame([numbers, lists]).filter(pl.col("value").list.len() > 0).explode("value")


def encoded_bags(vocabulary: Vocabulary, values: pl.DataFrame, *, first_bag: int, bags: int) -> pl.Series:
    """Lists of ids of the bags `first_bag` … `first_bag + bags − 1`; bags without values are empty."""
    ids = values.select(pl.col("bag"), vocabulary.ids(values["value"]).alias("ids"))
    lists = ids.group_by("bag", maintain_order=True).agg(pl.col("ids"))
    every = pl.DataFrame({"bag": pl.int_range(first_bag, first_bag + bags, dtype=pl.Int32, eager=True)})
    found = every.join(lists, on="bag", how="left", maintain_order="left")["ids"]
    return found.to_frame().select(pl.col("ids").fill_null(pl.lit([], dtype=pl.List(pl.Int32)))).to_series()


def _ordered(counts: pl.DataFrame, min_count: int) -> pl.DataFrame:
    kept = counts.filter(pl.col("count") >= min_count)
    ordered = kept.sort(["count", "value"], descending=[True, False], nulls_last=True)
    ids = pl.int_range(1, ordered.height + 1, dtype=pl.Int32, eager=True).alias("id")
    return ordered.select(ids, pl.col("value"), pl.col("count").cast(pl.Int64))


def _buckets(spill: Spill, name: str, buckets: int) -> pl.DataFrame:
    """Buckets of about equal counts between the quantiles of a column's train rows; equal quantiles give one bucket."""
    missing = False

    def blocks() -> Iterator[np.ndarray]:
        nonlocal missing
        for start in range(0, len(spill.paths), FRAMES_AT_ONCE):
            some = spill.scan([name, SPLIT], paths=spill.paths[start : start + FRAMES_AT_ONCE])
            values = (
                some.filter(pl.col(SPLIT) == Split.train.value).select(pl.col(name).cast(pl.Float64)).collect()[name]
            )
            missing = missing or values.null_count() > 0
            yield values.drop_nulls().to_numpy()

    edges = np.unique(order_statistics(blocks, lambda number: [k * number // buckets for k in range(buckets)]))
    lower: list[float | None] = edges.tolist()
    upper: list[float | None] = [*edges[1:].tolist(), None] if len(edges) else []
    if missing:
        lower, upper = [*lower, None], [*upper, None]
    return pl.DataFrame(
        {
            "id": pl.int_range(1, len(lower) + 1, dtype=pl.Int32, eager=True),
            "lower": pl.Series(lower, dtype=pl.Float64),
            "upper": pl.Series(upper, dtype=pl.Float64),
        }
    )
